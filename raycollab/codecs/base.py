"""How a vector is written on the wire."""

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor

from raycollab.settings import Settings


class Codec(Settings, ABC):
    """Makes vectors smaller on the wire. A frozen value; the same seed gives the same bytes."""

    @abstractmethod
    def encode(self, vector: Tensor, *, seed: int) -> dict[str, np.ndarray]:
        """A float32 vector [d] as arrays.

        May be called from another thread than agents learn in: whatever is drawn must come from the seed alone.
        """

    @abstractmethod
    def decode(self, arrays: dict[str, np.ndarray]) -> Tensor:
        """The vector [d] again, up to the codec's precision."""
