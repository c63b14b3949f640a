"""Noise as strong as a signal-to-noise ratio says."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from raycollab.data.distortions import Distortion, Noise
from raycollab.settings import require


@dataclass(frozen=True)
class NoiseAtSNR(Distortion):
    """Adds normal noise to each example, as strong as its own signal-to-noise ratio says.

    The signal's power is its mean square over the values of the example, but for zeros at its end, which are padding;
    noise is added there, too.

    Args:
        decibels: 10 log10(power of the signal / power of the noise); at -5 the noise has 3.2 times the signal's power.
    """

    decibels: float

    def __post_init__(self) -> None:
        require(math.isfinite(self.decibels), "NoiseAtSNR.decibels", self.decibels, "must be finite")

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Add noise that is drawn for each row by its number."""
        drawn = Noise(1.0).apply(values, rows, seed) - values
        squares = values.flatten(1).square()
        lengths = (squares.flip(1).cumsum(1) > 0).sum(1).clamp(min=1)  # up to the last value that is not zero
        power = squares.sum(1) / lengths * 10 ** (-self.decibels / 10)
        return values + drawn * power.sqrt().view(-1, *(1 for _ in values.shape[1:]))
