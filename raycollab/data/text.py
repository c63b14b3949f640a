"""Text as parties hold it, files or a column of Parquet, cut in windows of tokens for language models.

Windows are views into the tokens, which are stored once: a pass over overlapping windows takes no more memory.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pyarrow import fs

from raycollab.data.base import Columns, Opened, Source
from raycollab.data.columns import take_rows
from raycollab.data.files import find_files
from raycollab.data.partition import ByColumn, Partition
from raycollab.data.tokenizers import Tokenizer
from raycollab.errors import DataError
from raycollab.settings import require, require_one_of

TOKENS = "tokens"
Document = tuple[str, str | None]  # what errors call it, and its text


@dataclass(frozen=True)
class TextSource(Source):
    """Documents that are tokenized once, joined and cut: column `tokens` int32 [n, context + 1].

    Each row holds one token more than the model looks at: the last is only predicted.

    Args:
        path: A file, a folder, a glob or any pyarrow.fs URI, as for Parquet.
        tokenizer: How text becomes tokens; the same for all parties.
        context: Tokens that the model looks at.
        stride: Tokens from the beginning of a window to the next. None is `context`: every token is predicted once in a
            pass. 1 gives windows at every place, in the order of the batches' seed: nanoGPT's random offsets, without
            repeats. Overlapping windows cannot be dealt out or held out by row: neighbours hold the same text.
        separator: What stands between two documents.
        bad_rows: "error", or "skip" to leave out documents that are empty or cannot be tokenized, and count them.
    """

    path: str
    tokenizer: Tokenizer
    context: int
    stride: int | None = None
    separator: str = "\n"
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        require(bool(self.path), f"{kind}.path", self.path, "must name a file, a folder, a glob or a URI")
        good = isinstance(self.tokenizer, Tokenizer)
        require(good, f"{kind}.tokenizer", self.tokenizer, "must be a Tokenizer such as rc.data.Characters()")
        require(self.context >= 1, f"{kind}.context", self.context, "must be >= 1")
        good = self.stride is None or 1 <= self.stride <= self.context
        accepted = f"must be in 1..context={self.context}, or null for windows one after another"
        require(good, f"{kind}.stride", self.stride, accepted)
        require_one_of(f"{kind}.bad_rows", self.bad_rows, ("error", "skip"))

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Read the documents, those that hold no text with them.

        Raises: DataError that names the file.
        """

    def read(self) -> Columns:
        """Read, tokenize and cut the text."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read, tokenize and cut the text; windows of an index are cut from text that is kept.

        Documents that are skipped are in no window: they count with the first of all windows.

        Raises: DataError for a document that cannot be used, unless such are skipped, or for too little text.
        """
        if rows is None:
            return self._windows()
        opened = _windows_once(self)
        return Opened(take_rows(opened.columns, rows), opened.skipped if (rows == 0).any() else ())

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """The windows."""
        del names
        return _windows_once(self).columns

    def tolerant(self) -> Source:
        """The same text without documents that are empty or cannot be tokenized."""
        return replace(self, bad_rows="skip")

    def _windows(self) -> Opened:
        parts, skipped = list[np.ndarray](), list[str]()
        for where, text in self.documents():
            try:
                tokens = self._tokens(where, text)
            except DataError as error:
                if not str(error).startswith(where):  # what is wrong is not this document
                    raise
                if self.bad_rows == "error":
                    raise DataError(f"{error}, or leave such documents out with bad_rows='skip'") from error
                skipped.append(str(error))
                continue
            if parts and self.separator:
                parts.append(self.tokenizer.encode(self.separator, f"{type(self).__name__}.separator"))
            parts.append(tokens)
        tokens = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        if len(tokens) <= self.context:
            without = f"; {len(skipped):,} documents are skipped: {skipped[0]}" if skipped else ""
            raise DataError(
                f"{self.describe()}: {len(tokens)} tokens, and a window of context={self.context} needs "
                f"{self.context + 1}: give it more text, or lower context{without}"
            )
        whole = torch.from_numpy(tokens)
        return Opened({TOKENS: whole.unfold(0, self.context + 1, self.stride or self.context)}, tuple(skipped))

    def _tokens(self, where: str, text: str | None) -> np.ndarray:
        if not text:
            raise DataError(f"{where} is {'null' if text is None else 'empty text'}; fill it or drop the row")
        return self.tokenizer.encode(text, where)

    def overlap(self) -> str:
        """Why windows may not be dealt out one by one, if they overlap."""
        if self.stride in (None, self.context):
            return ""
        return (
            f"windows at stride={self.stride} hold the text of their neighbours: set stride=null, which is "
            f"context={self.context}, or give each its own text"
        )


@dataclass(frozen=True)
class Text(TextSource):
    """Plain text files in UTF-8, in the order of their names. path, tokenizer, context, stride are TextSource's.

    Args:
        span: Where the text that is read begins and ends, as shares of all its characters: (0, 0.9) and (0.9, 1) are
            nanoGPT's training and validation text.
    """

    span: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "span", tuple(self.span))
        good = len(self.span) == 2 and 0 <= self.span[0] < self.span[1] <= 1
        require(good, "Text.span", self.span, "must be (begin, end) with 0 <= begin < end <= 1")

    def describe(self) -> str:
        """Return one short line for people."""
        begin, end = self.span
        return self.path if self.span == (0, 1) else f"{self.path} from {begin:.4g} to {end:.4g} of its length"

    def documents(self) -> Iterator[Document]:
        """The part of each file that lies in the span."""
        filesystem, files = find_files(self.path, ".txt")
        texts = [_text_of(filesystem, file) for file in files]
        total = sum(map(len, texts))
        begin, end = (int(share * total) for share in self.span)
        if begin >= end:
            raise DataError(f"{self.describe()}: empty text, {total} characters in {len(files)} file(s)")
        for file, text in zip(files, texts, strict=True):
            part = text[max(begin, 0) : max(end, 0)]
            if part:
                yield file, part
            begin, end = begin - len(text), end - len(text)


@dataclass(frozen=True)
class ParquetText(TextSource):
    """A column of text of Parquet files, a document a row. path, tokenizer, context, stride are TextSource's.

    Dealt out by ByColumn("speaker", ("ROMEO", "JULIET")), each agent reads the rows of its own speaker.

    Args:
        column: The column of text.
        by: Column that says whose row it is; empty reads all rows.
        values: Whose rows are read.
    """

    column: str = "text"
    by: str = ""
    values: tuple[str | float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", tuple(self.values))
        good = bool(self.by) == bool(self.values)
        require(good, "ParquetText.values", self.values, f"must name whose rows are read exactly if by={self.by!r} is")

    def describe(self) -> str:
        """Return one short line for people."""
        whose = f" of {self.by}={', '.join(map(str, self.values))}" if self.by else ""
        return f"{self.path}{whose}"

    def split(self, partition: Partition) -> Sequence[Source]:
        """Return one source per part; one per value of a column if that is the partition."""
        if isinstance(partition, ByColumn):
            return [replace(self, by=partition.column, values=(value,)) for value in partition.values]
        return super().split(partition)

    def documents(self) -> Iterator[Document]:
        """The text of each row."""
        filesystem, files = find_files(self.path, ".parquet")
        tables = [self._rows(filesystem, file) for file in files]
        if not any(table.num_rows for table in tables):
            raise DataError(f"{self.describe()}: {self._nothing(filesystem, files)}")
        for file, table in zip(files, tables, strict=True):
            rows, texts = table["row"].to_pylist(), table["text"].to_pylist()
            for row, text in zip(rows, texts, strict=True):
                yield f"{file}: row {row} of column {self.column!r}", text

    def _rows(self, filesystem: fs.FileSystem, file: str) -> pa.Table:
        """Number and text of the rows that are read."""
        table = _read(filesystem, file, [self.column, *([self.by] if self.by else [])])
        kind = table.schema.field(self.column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{file}: column {self.column!r} holds {kind}, not text: name a column of strings")
        rows = pa.table({"row": np.arange(table.num_rows), "text": table[self.column]})
        return rows.filter(self._mine(table, file)) if self.by else rows

    def _mine(self, table: pa.Table, file: str) -> pa.ChunkedArray:
        kind = table.schema.field(self.by).type
        try:
            wanted = pa.array(self.values).cast(kind.value_type if pa.types.is_dictionary(kind) else kind)
        except pa.ArrowException as error:
            raise DataError(f"{file}: column {self.by!r} holds {kind}, and values={self.values} are not") from error
        held = table[self.by]
        return pc.is_in(held.cast(kind.value_type) if pa.types.is_dictionary(kind) else held, wanted)

    def _nothing(self, filesystem: fs.FileSystem, files: list[str]) -> str:
        if not self.by:
            return "0 rows; an agent needs at least one"
        held = {value for file in files for value in _read(filesystem, file, [self.by])[self.by].unique().to_pylist()}
        return f"no row of it; column {self.by!r} holds: {', '.join(sorted(map(str, held))[:20])}"


@lru_cache(maxsize=2)
def _windows_once(source: TextSource) -> Opened:
    """Text as it is cut, once per process while it is one of the last two that were asked for."""
    return source.open()


def _text_of(filesystem: fs.FileSystem, file: str) -> str:
    """A file's text, without the mark that some editors put before it."""
    try:
        with filesystem.open_input_stream(file, compression=None) as stream:
            return stream.read().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}; convert it, e.g. with iconv -t utf-8") from error


def _read(filesystem: fs.FileSystem, file: str, columns: list[str]) -> pa.Table:
    try:
        with filesystem.open_input_file(file) as stream, pq.ParquetFile(stream) as parquet:
            there = parquet.schema_arrow.names
            missing = [name for name in columns if name not in there]
            if missing:
                raise DataError(f"{file}: no column {', '.join(map(repr, missing))}; there are: {', '.join(there)}")
            return parquet.read(columns=columns)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: cannot be read as Parquet: {reason}; copy or write the file again") from error
