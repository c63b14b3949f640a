"""Data sets that Hugging Face's `datasets` wrote with `save_to_disk`: Arrow files, read without that package."""

import json
from dataclasses import dataclass
from posixpath import basename, dirname, join
from typing import ClassVar

from pyarrow import fs

from raycollab.data.files import find_files
from raycollab.data.ipc import Arrow
from raycollab.errors import DataError


@dataclass(frozen=True)
class HuggingFace(Arrow):
    """Rows of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote; nothing is downloaded.

    Columns of images and audio are decoded as `images` and `audio` say, which take their {bytes, path} as they are.

    Args:
        part: The split of a DatasetDict, such as "train"; empty for a single Dataset.
    """

    part: str = ""

    form: ClassVar[str] = "a data set of Hugging Face"
    remedy: ClassVar[str] = "save it again with `save_to_disk`"

    def files(self) -> tuple[fs.FileSystem, list[str]]:
        """The data files, as state.json names them.

        Raises: DataError if the folder is none of a data set's, or has no such split.
        """
        filesystem, found = find_files(self.path, ("state.json", "dataset_dict.json"))
        top = min((dirname(file) for file in found), key=len)
        folders = {dirname(file): file for file in found if basename(file) == "state.json"}
        folder = join(top, self.part) if self.part else top
        if folder not in folders:
            splits = ", ".join(sorted(basename(each) for each in folders if dirname(each) == top)) or "none"
            raise DataError(f"{self.path}: HuggingFace.part={self.part!r} is not there; splits in it: {splits}")
        state = json.loads(filesystem.open_input_stream(folders[folder]).read())
        if state.get("_indices_files") or state.get("_indices_data_files"):
            raise DataError(f"{folder}: holds only numbers of rows; save `dataset.flatten_indices()` instead")
        return filesystem, [join(folder, each["filename"]) for each in state["_data_files"]]

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{super().describe()}/{self.part}" if self.part else super().describe()
