"""Whole numbers modulo a power of two: what is masked, and added up without ever being rounded."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

HEAD_BYTES = 16
HEAD_MODULUS = 2 ** (8 * HEAD_BYTES)
_UNSIGNED: dict[int, np.dtype] = {4: np.dtype("<u4"), 8: np.dtype("<u8")}


@dataclass
class Residues:
    """Residues of all that an agent sends.

    Args:
        body: Of the vectors' elements, one vector after another: int32 or int64 [n], modulo 2**32 or 2**64.
        head: Of the few numbers beside them, modulo 2**128.
    """

    body: Tensor
    head: tuple[int, ...]

    @property
    def unsigned(self) -> np.ndarray:
        """The body as unsigned numbers, in the same memory."""
        array = self.body.numpy()
        return array.view(_UNSIGNED[array.itemsize])

    def own(self) -> "Residues":
        """The same in new memory."""
        return Residues(self.body.clone(), self.head)

    def add(self, other: "Residues") -> None:
        """Add in place; the memory must be its own."""
        mine = self.unsigned
        np.add(mine, other.unsigned, out=mine)
        self.head = tuple((one + more) % HEAD_MODULUS for one, more in zip(self.head, other.head, strict=True))
