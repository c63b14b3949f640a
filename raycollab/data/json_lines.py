"""JSON lines: one object a line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
from pyarrow import fs

from raycollab.data.stored import Stored
from raycollab.data.table import Choose, Table

_BLOCK_BYTES = 2**26  # the type of a column is told from the first block


@dataclass(frozen=True)
class JSONLines(Table):
    """Rows of files with one JSON object a line, compressed or not; empty lines do not count."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jsonl.gz")
    form: ClassVar[str] = "JSON lines"
    remedy: ClassVar[str] = "correct the file, or leave out lines that are no JSON objects with bad_rows='skip'"

    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the whole file, and keep the chosen columns."""
        with filesystem.open_input_stream(file) as stream:
            lines = [line for line in stream.read().splitlines() if line.strip()]
        skipped = {row: f"{file}: row {row} is no JSON object: {why}" for row, why in _broken(lines).items()}
        if skipped and self.bad_rows == "error":
            raise pa.ArrowInvalid(next(iter(skipped.values())).removeprefix(f"{file}: "))
        numbers = np.setdiff1d(np.arange(len(lines)), list(skipped))
        text = b"\n".join(lines[row] for row in numbers)
        table = pj.read_json(pa.BufferReader(text), pj.ReadOptions(block_size=_BLOCK_BYTES))
        return Stored(file, table.select(choose(table.schema)), numbers, tuple(skipped.values()))


def _broken(lines: Sequence[bytes]) -> dict[int, str]:
    """What is wrong with lines that hold no object, by their number."""
    found: dict[int, str] = {}
    for row, line in enumerate(lines):
        try:
            if not isinstance(json.loads(line), dict):
                found[row] = "write {...}"
        except ValueError as error:
            found[row] = str(error)
    return found
