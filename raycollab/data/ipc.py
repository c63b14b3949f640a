"""Arrow files: Feather, and what Arrow calls its IPC file and stream formats."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import fs, ipc

from raycollab.data.stored import Stored
from raycollab.data.table import Choose, Table


@dataclass(frozen=True)
class Arrow(Table):
    """Rows of Arrow and Feather files; a local one is mapped into memory, not copied."""

    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".feather")
    form: ClassVar[str] = "Arrow"

    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the chosen columns."""
        local = isinstance(filesystem, fs.LocalFileSystem)
        with pa.memory_map(file) if local else filesystem.open_input_file(file) as stream:
            if stream.read(6) == b"ARROW1":
                table = ipc.open_file(stream).read_all()
            else:
                stream.seek(0)
                table = ipc.open_stream(stream).read_all()
        return Stored(file, table.select(choose(table.schema)), np.arange(table.num_rows))
