"""A party's data as its agent opens it: checked, and with less or nothing of what is suspect."""

from dataclasses import dataclass

import torch

from raycollab.data import WEIGHT, Columns, Shard, Source, Streamed, StreamedShard, usable
from raycollab.errors import DataError
from raycollab.quality.suspects import find_suspects
from raycollab.settings import require
from raycollab.task import Task

QUALITIES = ("keep", "down-weight", "drop")
_SUSPECT_WEIGHT = 0.5


def check_quality(setting: str, quality: str) -> None:
    """Raise ConfigError unless it says what becomes of rows whose label is likely wrong."""
    accepted = "must be 'keep', 'down-weight' or 'drop': what becomes of rows whose label is likely wrong"
    require(quality in QUALITIES, setting, quality, accepted)


@dataclass(frozen=True)
class OpenedShard:
    """What an agent learns from, a line on what is in it, and how many rows were left out as it was opened."""

    shard: Shard | StreamedShard
    summary: str
    num_left_out: int = 0

    @property
    def rejected(self) -> int:
        """Rows that cannot be used; of a stream, as far as passes have met them."""
        return self.shard.rejected if isinstance(self.shard, StreamedShard) else self.num_left_out


def open_shard(
    source: Source,
    task: Task,
    *,
    where: str,
    val_fraction: float,
    seed: int,
    device: str = "cpu",
    quality: str = "keep",
) -> OpenedShard:
    """Open a source and check it.

    Args:
        source: The party's data.
        task: Says which rows can be learned from.
        where: What errors call it.
        val_fraction: Share that is kept for validation.
        seed: Of that choice.
        device: Where it is kept.
        quality: What becomes of rows whose label is likely wrong: "keep", "down-weight" (they count half) or "drop".
    Raises: DataError saying what is wrong and where: of a row, its file and its number there.
    """
    if isinstance(source, Streamed):
        return _streamed(source, task, where, val_fraction, seed, device, quality)
    found = usable(source, task.check, where)
    columns, rejected = found.columns, found.num_left_out
    notes = [f"{rejected:,} rejected"]
    if quality != "keep":
        columns, note = _without_suspects(columns, task, quality)
        notes.append(note)
    if not len(next(iter(columns.values()))):
        raise DataError(f"{where}: 0 examples are left ({notes[0]}); give the agent data or leave it out")
    shard = Shard(columns, val_fraction=val_fraction, seed=seed, device=device, name=where)
    covered = task.coverage(columns)
    return OpenedShard(shard, ", ".join([_counted(shard), *notes, *([covered] if covered else [])]), rejected)


def _without_suspects(columns: Columns, task: Task, quality: str) -> tuple[Columns, str]:
    found = find_suspects(columns, task)
    if found.unjudged:
        return columns, f"labels not judged, because {found.unjudged}"
    count = int(found.places.sum())
    if quality == "drop":
        keep = ~found.places
        return {name: column[keep] for name, column in columns.items()}, f"{count:,} suspects dropped"
    weights = torch.ones(len(found.places)).masked_fill_(found.places, _SUSPECT_WEIGHT)
    return {**columns, WEIGHT: weights}, f"{count:,} suspects down-weighted"


def _streamed(
    source: Streamed, task: Task, where: str, val_fraction: float, seed: int, device: str, quality: str
) -> OpenedShard:
    require(
        quality == "keep", "quality", quality, "must be 'keep' for a streamed source, which is never read as a whole"
    )
    shard = StreamedShard(source, task.check, val_fraction=val_fraction, seed=seed, device=device, name=where)
    return OpenedShard(shard, f"{_counted(shard)}, streamed")


def _counted(shard: Shard | StreamedShard) -> str:
    examples, held_back = shard.num_examples("train"), shard.num_examples("val")
    return f"{examples + held_back:,} examples ({held_back:,} for validation)"
