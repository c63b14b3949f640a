"""Parquet files that are larger than memory, read row group by row group in every pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raycollab.data.base import Opened, Source
from raycollab.data.columns import Columns
from raycollab.data.parquet import Parquet
from raycollab.data.partition import ByColumn, Partition
from raycollab.data.stored import Stored
from raycollab.errors import DataError, RowError
from raycollab.rng import numpy_generator
from raycollab.settings import require

_BUFFER_BYTES = 2**20  # of a column that is read at once, so that a huge row group is not
Check = Callable[[Columns, str], torch.Tensor]


@dataclass(frozen=True)
class Streamed(Source):
    """Parquet files that a party need not hold in memory: every pass reads them anew.

    Row groups come in a random order, and rows are shuffled in a buffer; small row groups shuffle better. Rows cannot
    be dealt out at random: give each party its files, a `where`, or ByColumn.

    Args:
        source: The files.
        buffer: Rows that are shuffled among each other.
    """

    source: Parquet
    buffer: int = 4096

    def __post_init__(self) -> None:
        require(self.buffer >= 1, "Streamed.buffer", self.buffer, "must be >= 1 rows")

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.source.describe()}, streamed"

    def read(self) -> Columns:
        """Read all rows at once, for who needs that."""
        return self.source.read()

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all rows at once, or those of an index."""
        return self.source.open(rows)

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by."""
        return self.source.keys(names)

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(number)

    def tolerant(self) -> Source:
        """The same rows, with those that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def split(self, partition: Partition) -> Sequence[Source]:
        """Return one source per value of a column.

        Raises: ConfigError for other partitions.
        """
        remedy = "must be ByColumn: rows at random would be read from everywhere in a file; give each party its files"
        require(isinstance(partition, ByColumn), "Streamed: partition", partition, remedy)
        return [replace(self, source=part) for part in self.source.split(partition) if isinstance(part, Parquet)]


@dataclass(frozen=True)
class _Group:
    file: str
    index: int
    start: int  # number of its first row in the file
    num_rows: int  # that `where` lets through
    num_val: int


class StreamedShard:
    """An agent's examples, of which a buffer is in memory at a time.

    Examples are counted as they are stored: rows that turn out to be bad in a pass, and are left out, count as well.
    How many those are, as far as passes have met them, is `rejected`.

    Args:
        streamed: Where they are.
        check: Says which rows can be learned from.
        val_fraction: Share kept for validation, in [0, 1), drawn in every row group.
        seed: Seed of the draw.
        device: Where batches are put.
        name: What errors call it.
    Raises: DataError if there are no examples.
    """

    def __init__(
        self, streamed: Streamed, check: Check, *, val_fraction: float, seed: int, device: str = "cpu", name: str = ""
    ) -> None:
        self._source, self._buffer, self._check = streamed.source, streamed.buffer, check
        self._seed, self._device, self._name = seed, device, name or streamed.describe()
        self._filesystem, files = self._source.files()
        found = list(chain.from_iterable(self._groups(file) for file in files))
        if not sum(group.num_rows for group in found):
            raise DataError(f"{self._name}: 0 examples; an agent needs at least one, so leave it out")
        ends = np.floor(np.cumsum([group.num_rows for group in found]) * val_fraction + 0.5).astype(int)
        numbers = np.diff(ends, prepend=0).tolist()
        self._left_out: dict[tuple[int, str, int], int] = {}  # by row group, split, and where in it a piece ends
        self._parts = [replace(group, num_val=number) for group, number in zip(found, numbers, strict=True)]

    @property
    def rejected(self) -> int:
        """Rows that were left out, each once however many passes met it."""
        return sum(self._left_out.values())

    def num_examples(self, split: str = "train") -> int:
        """Number of rows of "train" or "val"."""
        total, val = (sum(getattr(group, name) for group in self._parts) for name in ("num_rows", "num_val"))
        return val if split == "val" else total - val

    def batches(self, split: str, batch_size: int, *, seed: int | None, drop_last: bool = False) -> Iterator[Columns]:
        """One pass, every example once; see Shard.batches."""
        require(batch_size >= 1, "batch_size", batch_size, "must be >= 1")
        order = range(len(self._parts))
        if seed is not None:
            order = numpy_generator(seed, "row groups").permutation(len(self._parts)).tolist()
        rest: Columns = {}
        for number, window in enumerate(self._windows(chain.from_iterable(self._pieces(i, split) for i in order))):
            if seed is not None:
                shuffled = torch.from_numpy(numpy_generator(seed, "window", number).permutation(_length(window)))
                window = {name: column[shuffled] for name, column in window.items()}
            window = _joined([rest, window])
            full = _length(window) - _length(window) % batch_size
            for start in range(0, full, batch_size):
                yield self._moved({name: column[start : start + batch_size] for name, column in window.items()})
            rest = {name: column[full:] for name, column in window.items()}
        if _length(rest) and not drop_last:
            yield self._moved(rest)

    def _moved(self, batch: Columns) -> Columns:
        return {name: column.to(self._device) for name, column in batch.items()}

    def _windows(self, pieces: Iterator[Columns]) -> Iterator[Columns]:
        """Pieces put together until they fill the buffer."""
        held: list[Columns] = []
        for piece in pieces:
            held.append(piece)
            if sum(map(_length, held)) >= self._buffer:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def _pieces(self, index: int, split: str) -> Iterator[Columns]:
        """What can be learned from of a row group's share of a split, a part of the buffer at a time."""
        group = self._parts[index]
        drawn = numpy_generator(self._seed, "validation", index).permutation(group.num_rows)[: group.num_val]
        is_val = np.zeros(group.num_rows, bool)
        is_val[drawn] = True
        wanted, seen = is_val if split == "val" else ~is_val, 0
        for stored in self._stored(group):
            count = stored.table.num_rows
            mine = np.flatnonzero(wanted[seen : seen + count])
            seen += count
            if not len(mine):
                continue
            piece = stored.take(mine)
            opened = self._source.decode(piece)
            columns, good = self._checked(piece, opened)
            if bad := len(opened.skipped) + int((~good).sum()):
                self._left_out[index, split, seen] = bad
            yield columns if bool(good.all()) else {name: column[good] for name, column in columns.items()}

    def _checked(self, piece: Stored, opened: Opened) -> tuple[Columns, torch.Tensor]:
        """Rows of a file, and which of them can be learned from.

        Raises: DataError by the task, of a row by its number in the file.
        """
        try:
            return opened.columns, self._check(opened.columns, f"{self._name}: {piece.file}")
        except RowError as error:
            raise error.at(piece.file, int(piece.numbers[opened.numbers(None)[error.row]])) from error

    def _stored(self, group: _Group) -> Iterator[Stored]:
        with self._filesystem.open_input_file(group.file) as stream:
            parquet = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES)
            names = self._source.chosen(parquet.schema_arrow, group.file)
            read = self._source.present([*names, *self._source.where], parquet.schema_arrow, group.file)
            start = group.start
            for batch in parquet.iter_batches(min(self._buffer, 1024), row_groups=[group.index], columns=read):
                numbers = np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                yield self._source.filtered(Stored(group.file, pa.Table.from_batches([batch]), numbers), names)

    def _groups(self, file: str) -> Iterator[_Group]:
        with self._filesystem.open_input_file(file) as stream:
            parquet, start = pq.ParquetFile(stream), 0
            where = self._source.present(list(self._source.where), parquet.schema_arrow, file)
            for index in range(parquet.num_row_groups):
                stored = parquet.metadata.row_group(index).num_rows
                count = stored
                if where:
                    table = parquet.read_row_group(index, columns=where)
                    count = self._source.filtered(Stored(file, table, np.arange(stored)), where).table.num_rows
                yield _Group(file, index, start, count, 0)
                start += stored


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _joined(parts: Sequence[Columns]) -> Columns:
    parts = [part for part in parts if part]
    return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
