"""Rows that are in memory already."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from raycollab.data.base import Columns, Source
from raycollab.data.columns import count_rows, take_rows
from raycollab.data.partition import Partition
from raycollab.errors import DataError


class Arrays(Source):
    """In-memory arrays as a source. Two are equal only if they are the same object.

    Args:
        columns: Arrays or tensors of one length n, not copied where the type fits: do not write into them afterwards.
            Tensors keep their type. Of numpy, float64 becomes float32 and whole numbers int64; uint8 and float16 stay.
        name: What errors and reports call them.
    Shapes: every column [n, ...].

    Raises:
        DataError: The lengths differ, or numpy holds something that is no number.
    """

    def __init__(self, columns: Mapping[str, np.ndarray | torch.Tensor], name: str = "arrays") -> None:
        self.name = name
        self._columns = {key: _to_tensor(key, column, name) for key, column in columns.items()}
        self._num_rows = count_rows(self._columns, name)
        self._digest = ""

    def read(self) -> Columns:
        """Return the tensors, without a copy."""
        return dict(self._columns)

    def digest(self) -> str:
        """Short hash of names, types, shapes and values."""
        if not self._digest:
            whole = hashlib.blake2b(digest_size=16)
            for name, column in sorted(self._columns.items()):
                whole.update(repr((name, column.dtype, tuple(column.shape))).encode())
                whole.update(column.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            self._digest = whole.hexdigest()
        return self._digest

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.name} ({self._num_rows:,} examples)"

    def split(self, partition: Partition) -> Sequence[Source]:
        """Cut the rows now: they are here, and so no agent is sent the rows of another."""
        parts = partition.assign(self._columns)
        return [Arrays(take_rows(self._columns, rows), f"{self.name}[{index}]") for index, rows in enumerate(parts)]


def _to_tensor(key: str, column: np.ndarray | torch.Tensor, name: str) -> torch.Tensor:
    if isinstance(column, torch.Tensor):
        return column.detach()
    array = np.asarray(column)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name}: column {key!r} holds {array.dtype}; give numbers")
    kept = array.dtype in (np.uint8, np.float16)
    target = array.dtype if kept else np.float32 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.require(array, target, ["C", "W"]))
