"""What sources of tables have in common: which rows and columns are read, and what becomes of each column.

A row that cannot be used is an error that says file, row and what to do, or is skipped and counted.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pyarrow import fs

from raycollab.data.base import Opened, Source
from raycollab.data.categories import is_named, names_in
from raycollab.data.columns import LABEL, Columns
from raycollab.data.decoding import Columned
from raycollab.data.files import find_files
from raycollab.data.partition import ByColumn, Partition
from raycollab.data.stored import Stored, taken
from raycollab.errors import DataError

Choose = Callable[[pa.Schema], list[str]]
Wanted = Callable[[pa.Schema, str], list[str]]  # which columns of a file are read
ROW = "row"  # the column of `keys` that counts rows, whatever else is asked for
_MAX_LISTED = 20


@dataclass(frozen=True)
class Table(Columned):
    """Files of rows in some format."""

    suffixes: ClassVar[tuple[str, ...]]
    form: ClassVar[str]  # what errors call the format
    remedy: ClassVar[str] = "copy or write the file again"

    @abstractmethod
    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the columns that are chosen of a file's schema.

        Raises: OSError, pa.ArrowException or UnicodeDecodeError if it is damaged; whatever `choose` raises.
        """

    def held(self) -> tuple[str, ...]:
        """Names of the columns that the files have, whichever are read.

        Raises: DataError if there is no file, or it cannot be read.
        """
        found: list[str] = []

        def first(schema: pa.Schema, file: str) -> list[str]:
            del file
            found.extend(schema.names)
            return list(schema.names[:1])

        filesystem, files = self.files()
        self.load(filesystem, files[0], first)
        return tuple(dict.fromkeys(found))

    def files(self) -> tuple[fs.FileSystem, list[str]]:
        """Where the files are, in the order of their rows.

        Raises: DataError if there are none.
        """
        return find_files(self.path, self.suffixes)

    def describe(self) -> str:
        """Return one short line for people."""
        only = [f"{column}={'|'.join(map(str, values))}" for column, values in self.where.items()]
        return f"{self.path} where {', '.join(only)}" if only else self.path

    def read(self) -> Columns:
        """Read all rows."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Decode all rows, or those of an index; files are kept for who asks for other rows of them."""
        if rows is None:
            return self._decoded(self.stored())
        wanted, order = np.unique(rows, return_inverse=True)
        opened = self._decoded(taken(_stored_once(self), wanted))
        if np.array_equal(wanted, rows):
            return opened
        places = np.full(len(wanted), -1)  # of a wanted row among those that could be read
        kept = np.arange(len(wanted)) if opened.kept is None else opened.kept
        places[kept] = np.arange(len(kept))
        found = places[order]
        there = found >= 0
        columns = _select(opened.columns, found[there])
        return Opened(columns, opened.skipped, None if there.all() else np.flatnonzero(there))

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by: only these are read; names become numbers in the order of the names."""
        if names is None:
            tolerant = replace(self, bad_rows="skip")
            return self._whole([tolerant.columns_of(part)[0] for part in self.stored()])
        labelled = bool(self.label) and not self.per_word
        wanted = [self.label if name == LABEL and self.label else name for name in names if labelled or name != LABEL]
        parts = self._stored_only(wanted)
        keys: Columns = {ROW: torch.arange(sum(part.table.num_rows for part in parts))}
        for name in wanted:
            column = pa.chunked_array([chunk for part in parts for chunk in part.table[name].chunks])
            keys[LABEL if name == self.label else name] = self.key_of(name, column)
        return keys

    def origin(self, number: int) -> tuple[str, int]:
        """The file of a row, and its number there."""
        [part] = [part for part in taken(self._stored_only([]), np.array([number])) if part.table.num_rows]
        return part.file, int(part.numbers[0])

    def categories_of(self, column: str) -> tuple[str, ...]:
        """All names in a column, sorted, as `categories` takes them; only that column is read.

        An experiment fixes the names for all parties: ask a file that holds all that there are, and write them down.

        Raises: DataError if there is no such column, or it holds no names.
        """
        parts = self._stored_only([column])
        held = pa.chunked_array([chunk for part in parts for chunk in part.table[column].chunks])
        if not is_named(held.type):
            raise DataError(f"{self.describe()}: column {column!r} holds {held.type}, which are no names")
        return names_in(held)

    def tolerant(self) -> Self:
        """The same rows, with those that cannot be used skipped."""
        return replace(self, bad_rows="skip")

    def split(self, partition: Partition) -> Sequence[Source]:
        """Return one source per part; by a column, each reads only the rows of its own value, which may be text."""
        if isinstance(partition, ByColumn):
            column = self.label if partition.column == LABEL and self.label else partition.column
            return [replace(self, where={**self.where, column: (value,)}) for value in partition.values]
        return super().split(partition)

    def load(self, filesystem: fs.FileSystem, file: str, wanted: Wanted | None = None) -> Stored:
        """The rows of a file that `where` lets through.

        Raises: DataError if it cannot be read, or has not the columns.
        """
        wanted = wanted or self.chosen

        def choose(schema: pa.Schema) -> list[str]:
            names = wanted(schema, file)
            return self.present([*names, *self.where], schema, file)

        try:
            part = self.read_file(filesystem, file, choose)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file}: cannot be read as {self.form}: {reason}; {self.remedy}") from error
        return self.filtered(part, wanted(part.table.schema, file))

    def filtered(self, part: Stored, names: Sequence[str]) -> Stored:
        """These columns of the rows that `where` lets through."""
        mask = np.ones(part.table.num_rows, bool)
        for column, values in self.where.items():
            mask &= _is_one_of(part, column, values)
        table = pa.table([part.table[name] for name in names], names=list(names))  # without metadata and null flags
        found = Stored(part.file, table, part.numbers, part.skipped)
        return found if mask.all() else found.take(np.flatnonzero(mask))

    def decode(self, part: Stored) -> Opened:
        """Tensors of some rows of a file.

        Raises: DataError for a row that cannot be used, unless such rows are skipped.
        """
        columns, bad = self.columns_of(part)
        if not bad:
            return Opened(columns, part.skipped)
        good = np.setdiff1d(np.arange(part.table.num_rows), list(bad))
        return Opened(_select(columns, good), (*part.skipped, *(bad[place] for place in sorted(bad))), good)

    def columns_of(self, part: Stored) -> tuple[Columns, dict[int, str]]:
        """All rows of a part as tensors, and what is wrong with bad ones by their place.

        Raises: DataError for a bad row, unless such rows are skipped.
        """
        columns, bad = Columns(), dict[int, str]()
        decoded_by_name = [self.decoded(name, part.table) for name in part.table.column_names]
        for name, decoded in chain.from_iterable(each.items() for each in decoded_by_name):
            for place, reason in sorted(decoded.bad.items()):
                message = f"{part.file}: column {name!r}: row {part.numbers[place]} {reason}"
                if self.bad_rows == "error":
                    many = f" ({len(decoded.bad)} such rows)" if len(decoded.bad) > 1 else ""
                    raise DataError(f"{message}{many}, or leave such rows out with bad_rows='skip'")
                bad.setdefault(place, message)
            columns[LABEL if name == self.label else name] = decoded.values
        return self.stacked(columns), bad

    def stored(self, wanted: Wanted | None = None) -> list[Stored]:
        """The files as they stand.

        Raises: DataError if there is none, one cannot be read, or they differ in their columns.
        """
        filesystem, files = self.files()
        parts = [self.load(filesystem, file, wanted) for file in files]
        for part in parts:
            if _kinds(part.table) != _kinds(parts[0].table):
                here, there = (", ".join(map(" ".join, _kinds(each.table, in_order=True))) for each in (part, parts[0]))
                raise DataError(
                    f"{part.file}: columns differ from {parts[0].file}: {here} and {there}; name those in common with "
                    f"columns="
                )
        if not any(part.table.num_rows or part.skipped for part in parts):
            raise DataError(f"{self.describe()}: {self._nothing(filesystem, files)}")
        return parts

    def _stored_only(self, names: Sequence[str]) -> list[Stored]:
        """The files with these columns alone, or with one to count rows by if none is named."""
        some = list(names) or ([self.label] if self.label else [])
        return self.stored(lambda schema, file: self.present(some or schema.names[:1], schema, file))

    def _nothing(self, filesystem: fs.FileSystem, files: Sequence[str]) -> str:
        if not self.where:
            return f"0 rows in {len(files)} file(s); an agent needs at least one"
        everything, held = replace(self, where={}), []
        for name in self.where:
            parts = [everything.load(filesystem, file, lambda schema, file: [name]) for file in files]  # noqa: B023
            values = sorted({str(value) for part in parts for value in part.table[name].unique().to_pylist()})
            held.append(f"{name!r} holds {', '.join(values[:_MAX_LISTED])}")
        return f"no row of {len(files)} file(s) is such: {'; '.join(held)}"

    def _decoded(self, parts: Sequence[Stored]) -> Opened:
        parts = [part for part in parts if part.table.num_rows or part.skipped] or list(parts[:1])
        opened = [self.decode(part) for part in parts]
        columns = self._whole([each.columns for each in opened])
        skipped = tuple(reason for each in opened for reason in each.skipped)
        if all(each.kept is None for each in opened):
            return Opened(columns, skipped)
        sizes = [part.table.num_rows for part in parts]
        kept = [np.arange(size) if each.kept is None else each.kept for size, each in zip(sizes, opened, strict=True)]
        starts = np.cumsum([0, *sizes[:-1]])
        return Opened(columns, skipped, np.concatenate([s + k for s, k in zip(starts, kept, strict=True)]))

    def _whole(self, parts: Sequence[Columns]) -> Columns:
        """The columns of several files, one after another."""
        if len(parts) == 1:
            return parts[0]
        for name in parts[0]:
            shapes = {tuple(part[name].shape[1:]) for part in parts if len(part[name])}
            if len(shapes) > 1:
                raise DataError(
                    f"{self.describe()}: examples of column {name!r} have shapes {sorted(shapes)} in different files; "
                    f"bring them to one, or read the files as sources of their own"
                )
        return {name: torch.cat([part[name] for part in parts if len(part[name])]) for name in parts[0]}


@lru_cache(maxsize=2)
def _stored_once(source: Table) -> list[Stored]:
    """Files as they are stored, once per process while their source is one of the last two that were asked for."""
    return source.stored()


def _select(columns: Columns, index: np.ndarray) -> Columns:
    rows = torch.from_numpy(index)
    return {name: column.index_select(0, rows) for name, column in columns.items()}


def _kinds(table: pa.Table, in_order: bool = False) -> list[tuple[str, str]]:
    kinds = [(column.name, str(column.type)) for column in table.schema]
    return kinds if in_order else sorted(kinds)


def _is_one_of(part: Stored, column: str, values: tuple[str | float, ...]) -> np.ndarray:
    """Which rows hold one of these values."""
    held = part.table[column]
    kind = held.type.value_type if pa.types.is_dictionary(held.type) else held.type
    try:
        wanted = pa.array(values).cast(kind)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"{part.file}: column {column!r} holds {kind}, and {values} are not") from error
    found: np.ndarray = pc.is_in(held.cast(kind), wanted).to_numpy()
    return found
