"""Data sets of Hugging Face: folders that `save_to_disk` wrote, and names of the Hub, both without `datasets`."""

import json
from dataclasses import dataclass
from posixpath import basename, dirname, join
from typing import ClassVar

from pyarrow import fs

from raycollab.data.files import find_files
from raycollab.data.hub import DEFAULT, is_name, split_files
from raycollab.data.ipc import Arrow
from raycollab.data.parquet import read_parquet
from raycollab.data.table import Choose, Stored
from raycollab.errors import DataError


@dataclass(frozen=True)
class HuggingFace(Arrow):
    """Rows of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, or of a data set of the Hub.

    Columns of images and audio are decoded as `images` and `audio` say, which take their {bytes, path} as they are.
    Code that comes with a data set never runs.

    Args:
        path: The folder, as for other sources; or a name of the Hub, such as "fancyzhx/ag_news", whose Parquet files
            are found in this machine's cache of it.
        part: The split, such as "train"; empty for a folder of a single Dataset.
        subset: Of a data set of the Hub that has several: what it calls a subset or configuration.
        revision: Of a data set of the Hub: a branch, tag or commit. Empty takes the Hub's own conversion to Parquet, or
            else the files on its main branch; both change when the data set does.
        download: Fetch what is not in the cache.
    """

    part: str = ""
    subset: str = DEFAULT
    revision: str = ""
    download: bool = False

    form: ClassVar[str] = "a data set of Hugging Face"
    remedy: ClassVar[str] = "save it again with `save_to_disk`, or delete it from the cache of the Hub"

    def files(self) -> tuple[fs.FileSystem, list[str]]:
        """The data files, as state.json or the Hub names them.

        Raises: DataError if the path leads to no data set, or it has no such split.
        """
        try:
            filesystem, found = find_files(self.path, ("state.json", "dataset_dict.json"))
        except DataError as missing:
            if not is_name(self.path):
                raise
            return fs.LocalFileSystem(), self._of_the_hub(missing)
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

    def _of_the_hub(self, missing: DataError) -> list[str]:
        try:
            return split_files(
                self.path, subset=self.subset, part=self.part, revision=self.revision, download=self.download
            )
        except DataError as error:
            raise DataError(f"{missing}; {error}") from error

    def read_file(self, filesystem: fs.FileSystem, file: str, choose: Choose) -> Stored:
        """Read the chosen columns, of Parquet or Arrow."""
        if file.endswith(".parquet"):
            return read_parquet(filesystem, file, choose)
        return super().read_file(filesystem, file, choose)

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{super().describe()}/{self.part}" if self.part else super().describe()
