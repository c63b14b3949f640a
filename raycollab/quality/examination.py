"""What one agent finds in its own shard: counts, and mean and deviation of each column; no rows, and nothing of one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from raycollab.data import Columns, Source
from raycollab.labels import NO_LABELS, Labels
from raycollab.quality.near import near_duplicates
from raycollab.quality.neighbours import MOST_ENTRIES
from raycollab.quality.suspects import find_suspects, inputs_of
from raycollab.task import Task

_HASH_BYTES = 8


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of the values of a column, by channel or entry [k]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Examination:
    """What was found.

    Args:
        agent: Who looked.
        examples: Rows that can be read.
        unreadable: Rows that cannot.
        labels: How many there are of each label, and of those that are none of the task's, as the task counts them.
        missing: NaN and infinities by column, where there are any.
        duplicates: Rows whose inputs are those of an earlier one to the last bit.
        near_duplicates: Rows that are all but an earlier one, beside those; 0 where rows overlap by how they are cut.
        in_test: Rows whose inputs stand in the shared test set.
        suspects: Labels that are likely wrong; None if nothing can be said.
        unjudged: Why not.
        agreement: Of labels with those of similar examples, beyond chance: Cohen's kappa.
        moments: Of each column of floats.
        error: Why nothing could be looked at; empty if it could.
    """

    agent: str
    examples: int = 0
    unreadable: int = 0
    labels: Labels = NO_LABELS
    missing: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    near_duplicates: int = 0
    in_test: int = 0
    suspects: int | None = None
    unjudged: str = ""
    agreement: float = float("nan")
    moments: Mapping[str, Moments] = field(default_factory=dict)
    error: str = ""


def examine(agent: str, source: Source, task: Task, test_hashes: frozenset[bytes], salt: bytes) -> Examination:
    """Read a shard and look at it; rows that cannot be read are counted.

    Args:
        agent: Whose shard it is.
        source: The shard.
        task: Says what inputs and labels are.
        test_hashes: Of the inputs of the test set's rows, by `row_hashes` with the same salt.
        salt: Drawn anew for each examination, so that hashes say nothing to who does not know it.
    Raises: DataError if the shard cannot be opened.
    """
    opened = source.tolerant().open()
    columns = opened.columns
    inputs = inputs_of(columns, task)
    hashes = row_hashes(columns, task, salt)
    firsts = {value: place for place, value in reversed(list(enumerate(hashes)))}
    repeated = torch.tensor([firsts[value] != place for place, value in enumerate(hashes)], dtype=torch.bool)
    suspects = find_suspects(columns, task)
    different = {} if source.overlap() else {name: column[~repeated] for name, column in inputs.items()}
    floats = {name: column for name, column in columns.items() if column.is_floating_point()}
    missing = {name: int((~column.isfinite()).sum()) for name, column in floats.items()}
    return Examination(
        agent,
        examples=len(hashes),
        unreadable=len(opened.skipped),
        labels=task.count_labels(columns),
        missing={name: count for name, count in missing.items() if count},
        duplicates=int(repeated.sum()),
        near_duplicates=near_duplicates(different),
        in_test=sum(value in test_hashes for value in hashes),
        suspects=None if suspects.unjudged else int(suspects.places.sum()),
        unjudged=suspects.unjudged,
        agreement=suspects.agreement,
        moments={name: _moments(column) for name, column in floats.items()},
    )


def row_hashes(columns: Columns, task: Task, salt: bytes) -> list[bytes]:
    """A salted hash of the inputs of each row."""
    inputs = [column.cpu().contiguous() for _, column in sorted(inputs_of(columns, task).items())]
    rows = [column.flatten(1) if column.ndim > 1 else column[:, None] for column in inputs]
    arrays = [np.ascontiguousarray(column.numpy()) for column in rows]
    keyed = [hashlib.blake2b(digest_size=_HASH_BYTES, key=salt) for _ in range(len(arrays[0]))]
    for array in arrays:
        for hasher, row in zip(keyed, array, strict=True):
            hasher.update(row.data)
    return [hasher.digest() for hasher in keyed]


def _moments(column: Tensor) -> Moments:
    """By channel of images and series, by entry of vectors, over all of a column of numbers."""
    values = column.double()
    values = values.where(values.isfinite(), torch.nan)
    by_entry = column.ndim == 2 and column.shape[1] <= MOST_ENTRIES
    kept = values.transpose(0, 1).flatten(1) if column.ndim > 2 or by_entry else values.reshape(1, -1)
    mean = kept.nanmean(1)
    std = (kept - mean[:, None]).square().nanmean(1).sqrt()
    return Moments(tuple(mean.tolist()), tuple(std.tolist()))
