"""Where data is, and what an agent makes of it.

A Source is a small value that says where rows are: it compares, hashes and pickles, and nothing is read before an agent
opens it on its own node. A Shard is an opened source: columns cached on the device, batches that only select rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from raycollab.data.columns import LABEL, Columns, count_rows, take_rows
from raycollab.data.partition import Partition
from raycollab.errors import DataError
from raycollab.rng import numpy_generator
from raycollab.settings import Settings, require

__all__ = ["Columns", "Opened", "Part", "Shard", "Source", "read_columns"]

_PERMUTE_WHOLE_BYTES = 2**20  # below this an epoch permutes the whole column once; above, it selects per batch


class Source(Settings, ABC):
    """Where some rows are. Implementations are frozen dataclasses of plain settings."""

    @abstractmethod
    def read(self) -> Columns:
        """Read the rows.

        Raises:
            DataError: Says what is wrong, where, and what to do about it.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return one short line for people."""

    def open(self, rows: np.ndarray | None = None) -> "Opened":
        """Read all rows, or those of an index [k]; a source that can read less than all of itself overrides it."""
        return Opened(self.read() if rows is None else take_rows(read_columns(self), rows))

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by: these at least, None is all; every stored row, whether good or not."""
        del names
        return read_columns(self)

    def tolerant(self) -> "Source":
        """The same rows, with those that cannot be read skipped and counted where the source can do that."""
        return self

    def overlap(self) -> str:
        """Why rows may not be dealt out one by one, and what to do; empty if each stands for itself."""
        return ""

    def at(self, round: int) -> "Source":
        """What it is in a round: itself, unless the data changes while a run goes on."""
        inner = getattr(self, "source", self)  # what is made of a source that changes, changes with it
        if inner is self or (then := inner.at(round)) is inner:
            return self
        return replace(self, source=then)  # type: ignore[type-var]

    def origin(self, number: int) -> tuple[str, int]:
        """Where one of its rows stands, counted as in `keys`: the file, or the source itself, and its number there."""
        return self.describe(), number

    def split(self, partition: Partition) -> Sequence["Source"]:
        """Return one source per part. Reads nothing: each part is cut where it is opened."""
        return [Part(self, partition, index) for index in range(partition.num_parts)]


@dataclass(frozen=True)
class Opened:
    """Rows as they were read.

    Args:
        columns: Those that could be.
        skipped: What is wrong with each of the others: file, row and reason.
        kept: Places of the rows that are there among those that were asked for [k]; None if that is all of them.
    """

    columns: Columns
    skipped: tuple[str, ...] = ()
    kept: np.ndarray | None = None

    def numbers(self, rows: np.ndarray | None) -> np.ndarray:
        """The number in its source of each row that is there [n], given the index that was asked for, if any."""
        asked = np.arange(len(next(iter(self.columns.values())))) if rows is None and self.kept is None else rows
        if asked is None:
            return np.asarray(self.kept)
        return np.asarray(asked if self.kept is None else asked[self.kept])


@lru_cache(maxsize=2)
def read_columns(source: Source) -> Columns:
    """Read a source, once per process while it is one of the last two that were asked for.

    The tensors are shared with everybody who asks: never write into them.
    """
    return source.read()


@lru_cache(maxsize=4)
def _rows_of_parts(source: Source, partition: Partition) -> list[np.ndarray]:
    return partition.assign(source.keys(partition.keys))


@dataclass(frozen=True)
class Part(Source):
    """One party's part of a source; `index` counts from 0."""

    source: Source
    partition: Partition
    index: int

    def __post_init__(self) -> None:
        last = self.partition.num_parts - 1
        require(0 <= self.index <= last, "Part.index", self.index, f"must be in 0 to {last}; parts are counted from 0")
        require(not self.source.overlap(), "Part.source", self.source, self.source.overlap())

    def read(self) -> Columns:
        """Read the rows of this part."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read the rows of this part, or some of them, and as little else as the source allows."""
        return self.source.open(self._mine(rows))

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that the rows of this part are dealt out by."""
        return take_rows(self.source.keys(names), self._mine(None))

    def tolerant(self) -> Source:
        """The same part, with rows that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(int(self._mine(None)[number]))

    def _mine(self, rows: np.ndarray | None) -> np.ndarray:
        mine = _rows_of_parts(self.source, self.partition)[self.index]
        return mine if rows is None else mine[rows]

    def describe(self) -> str:
        """Return one short line for people."""
        name = type(self.partition).__name__
        return f"{self.source.describe()}, part {self.index} of 0 to {self.partition.num_parts - 1} by {name}"


class Shard:
    """An agent's examples, cached on its device and split once into "train" and "val".

    Args:
        columns: Tensors of one length n. They are not copied where they already stand on the device.
        val_fraction: Share kept for validation, in [0, 1): round(n * share), at least 1 if the share is > 0 and n >= 2.
        seed: Seed of the split.
        device: Where the columns are kept.
        name: What errors call this shard.
    Shapes: every column [n, ...] -> every batch [b, ...].

    Raises:
        DataError: There are no examples, or the columns differ in length.
    """

    def __init__(
        self, columns: Columns, *, val_fraction: float, seed: int, device: str = "cpu", name: str = "shard"
    ) -> None:
        require(
            0 <= val_fraction < 1,
            "Shard.val_fraction",
            val_fraction,
            "must be in [0, 1); 0 keeps every example for training",
        )
        n = count_rows(columns, name)
        if n == 0:
            raise DataError(f"{name}: 0 examples; an agent needs at least one, so give it another part or leave it out")
        num_val = min(n - 1, max(1, round(n * val_fraction))) if val_fraction > 0 else 0
        if num_val:
            order = numpy_generator(seed, "validation").permutation(n)
            splits = {
                "train": take_rows(columns, np.sort(order[num_val:])),
                "val": take_rows(columns, np.sort(order[:num_val])),
            }
        else:
            splits = {"train": columns, "val": {key: column[:0] for key, column in columns.items()}}
        self._splits = {
            split: {key: column.to(device) for key, column in held.items()} for split, held in splits.items()
        }

    def where(self, rows: torch.Tensor) -> "Shard":
        """The same shard with some of its training rows only, perhaps none: bool [n]."""
        some = object.__new__(Shard)
        some._splits = {**self._splits, "train": {key: column[rows] for key, column in self.columns("train").items()}}
        return some

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the columns, without the label."""
        return tuple(key for key in self._splits["train"] if key != LABEL)

    def columns(self, split: str = "train") -> Columns:
        """Return all rows of "train" or "val", in their original order; never write into them."""
        require(split in self._splits, "split", split, "must be 'train' or 'val'")
        return dict(self._splits[split])

    def num_examples(self, split: str = "train") -> int:
        """Return the number of rows of "train" or "val"."""
        return len(next(iter(self.columns(split).values())))

    def batches(self, split: str, batch_size: int, *, seed: int | None, drop_last: bool = False) -> Iterator[Columns]:
        """Return one epoch, every example exactly once. A batch may be a view of the cache: never write into it.

        Args:
            split: "train" or "val".
            batch_size: Examples per batch; the last one may be smaller.
            seed: Seed of the order, the same on every device; None goes through the rows in order.
            drop_last: Leave out a last batch that is smaller.
        """
        require(batch_size >= 1, "batch_size", batch_size, "must be >= 1")
        columns, n = self.columns(split), self.num_examples(split)
        starts = range(0, n - n % batch_size if drop_last else n, batch_size)
        if seed is None:
            return _slices(columns, {}, starts, batch_size, None)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(next(iter(columns.values())).device)
        small = {
            key: column.index_select(0, order)
            for key, column in columns.items()
            if column.nbytes <= _PERMUTE_WHOLE_BYTES and column.is_contiguous()  # windows of text stay views
        }
        large = {key: column for key, column in columns.items() if key not in small}
        return _slices(small, large, starts, batch_size, order)


def _slices(
    ready: Columns, unordered: Columns, starts: range, batch_size: int, order: torch.Tensor | None
) -> Iterator[Columns]:
    for start in starts:
        batch = {key: column[start : start + batch_size] for key, column in ready.items()}
        if order is not None:
            rows = order[start : start + batch_size]
            batch |= {key: column.index_select(0, rows) for key, column in unordered.items()}
        yield batch
