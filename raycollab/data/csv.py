"""CSV files."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow.csv as pc
from pyarrow import fs

from raycollab.data.stored import Stored
from raycollab.data.table import Choose, Table
from raycollab.settings import require

_BLOCK_BYTES = 2**26  # the type of a column is told from the first block


@dataclass(frozen=True)
class CSV(Table):
    """Rows of CSV files with a heading, compressed or not; row numbers count from the line after it.

    Args:
        delimiter: What stands between two values.
        missing: Texts that stand for a value that is not there.
    """

    delimiter: str = ","
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null", "?")

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz", ".tsv")
    form: ClassVar[str] = "CSV"
    remedy: ClassVar[str] = "correct the file, or leave out lines of another length with bad_rows='skip'"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "missing", tuple(self.missing))
        require(len(self.delimiter) == 1, "CSV.delimiter", self.delimiter, "must be one character, such as ';'")

    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the whole file, and keep the chosen columns."""
        skipped: dict[int, str] = {}

        def told(row: pc.InvalidRow) -> str:
            place = row.number - 2  # lines count from 1, and the first is the heading
            skipped[place] = f"{file}: row {place} has {row.actual_columns} values, not {row.expected_columns}"
            return "skip" if self.bad_rows == "skip" else "error"

        with filesystem.open_input_stream(file) as stream:
            table = pc.read_csv(
                stream,
                read_options=pc.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),  # threads do not count rows
                parse_options=pc.ParseOptions(delimiter=self.delimiter, invalid_row_handler=told),
                convert_options=pc.ConvertOptions(null_values=self.missing, strings_can_be_null=True),
            )
        numbers = np.setdiff1d(np.arange(table.num_rows + len(skipped)), list(skipped))
        return Stored(file, table.select(choose(table.schema)), numbers, tuple(skipped.values()))
