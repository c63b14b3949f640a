"""Parquet files."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
from pyarrow import fs

from raycollab.data.stored import Stored
from raycollab.data.table import Choose, Table


@dataclass(frozen=True)
class Parquet(Table):
    """Rows of Parquet files."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    form: ClassVar[str] = "Parquet"

    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the chosen columns, and no others."""
        return read_parquet(filesystem, file, choose)


def read_parquet(filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
    """The chosen columns of a Parquet file, and no others."""
    with filesystem.open_input_file(file) as stream, pq.ParquetFile(stream) as parquet:
        table = parquet.read(columns=choose(parquet.schema_arrow))
    return Stored(file, table, np.arange(table.num_rows))
