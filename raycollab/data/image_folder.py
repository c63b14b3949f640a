"""Folders of image files, one folder a class."""

from dataclasses import dataclass, replace
from posixpath import basename, dirname

import numpy as np
import pyarrow as pa
import torch
from pyarrow import fs

from raycollab.data.base import Opened, Source
from raycollab.data.columns import LABEL, Columns
from raycollab.data.files import find_files
from raycollab.data.images import COLORS, decode_images
from raycollab.errors import DataError
from raycollab.settings import require, require_one_of

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".PNG", ".JPG", ".JPEG")


@dataclass(frozen=True)
class ImageFolder(Source):
    """Image files whose folder is their class: `image` [n, channels, height, width] and `label` int64 [n].

    Args:
        path: The folder above those of the classes: a local one or any pyarrow.fs URI; a relative one that does not
            exist is also looked for under $RAYCOLLAB_DATA.
        classes: Names of the folders in the order of their labels: the same for all parties, whichever they hold.
        size: Height and width that all images are brought to; None wants them to have one size.
        color: "rgb" or "gray".
        scale: Pixels are divided by this and become float32; None keeps uint8.
        bad_rows: "error", or "skip" to leave out files that cannot be read, and count them.
    """

    path: str
    classes: tuple[str, ...]
    size: tuple[int, int] | None = None
    color: str = "rgb"
    scale: float | None = 255.0
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "size", None if self.size is None else tuple(self.size))
        require(bool(self.path), "ImageFolder.path", self.path, "must name a folder")
        good = len(set(self.classes)) == len(self.classes) >= 1
        require(good, "ImageFolder.classes", self.classes, "must name the folders of the classes, each once")
        good = self.size is None or (len(self.size) == 2 and min(self.size) >= 1)
        require(good, "ImageFolder.size", self.size, "must be (height, width), or null if all have one size")
        require(self.color in COLORS, "ImageFolder.color", self.color, f"must be one of {COLORS}")
        require(self.scale is None or self.scale > 0, "ImageFolder.scale", self.scale, "must be > 0; 255 gives 0..1")
        require_one_of("ImageFolder.bad_rows", self.bad_rows, ("error", "skip"))

    def describe(self) -> str:
        """Return one short line for people."""
        return self.path

    def read(self) -> Columns:
        """Read and decode all files."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read and decode all files, or those of an index, in the order of their names.

        Raises: DataError for a file that cannot be used, unless such files are skipped.
        """
        filesystem, files, labels = self._listed()
        places = np.arange(len(files)) if rows is None else rows
        names = [files[place] for place in places]
        contents = pa.chunked_array([[_bytes_of(filesystem, name) for name in names]], pa.large_binary())
        decoded = decode_images(contents, self.color, self.size)
        skipped = tuple(f"{names[place]} {reason}" for place, reason in sorted(decoded.bad.items()))
        if skipped and self.bad_rows == "error":
            raise DataError(f"{skipped[0]}, or leave such files out with bad_rows='skip' ({len(skipped)} such files)")
        good = np.setdiff1d(np.arange(len(names)), list(decoded.bad))
        images = decoded.values[torch.from_numpy(good)] if skipped else decoded.values
        images = images if self.scale is None else images.to(torch.float32).div_(self.scale)
        columns = {"image": images, LABEL: torch.tensor([labels[place] for place in places[good]], dtype=torch.int64)}
        return Opened(columns, skipped, good if skipped else None)

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """The labels, which stand in the names: no file is read unless other columns are asked for."""
        if names is None or set(names) - {LABEL}:
            return super().keys(names)
        return {LABEL: torch.tensor(self._listed()[2], dtype=torch.int64)}

    def origin(self, number: int) -> tuple[str, int]:
        """The file, which is a row by itself."""
        return self._listed()[1][number], 0

    def tolerant(self) -> Source:
        """The same files, with those that cannot be read skipped."""
        return replace(self, bad_rows="skip")

    def _listed(self) -> tuple[fs.FileSystem, list[str], list[int]]:
        """The files and their labels.

        Raises: DataError if a file lies in a folder that is no class.
        """
        filesystem, files = find_files(self.path, _SUFFIXES)
        labels = {name: label for label, name in enumerate(self.classes)}
        strange = [file for file in files if basename(dirname(file)) not in labels]
        if strange:
            raise DataError(
                f"{strange[0]}: its folder {basename(dirname(strange[0]))!r} is none of classes={self.classes}; name "
                f"it there, or move the file ({len(strange)} such files)"
            )
        return filesystem, files, [labels[basename(dirname(file))] for file in files]


def _bytes_of(filesystem: fs.FileSystem, file: str) -> bytes | None:
    """A file's content; None if it cannot be read."""
    try:
        with filesystem.open_input_stream(file, compression=None) as stream:
            return bytes(stream.read())
    except OSError:
        return None
