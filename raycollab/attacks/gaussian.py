"""Noise instead of an update."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.attacks.forged import Forgery
from raycollab.settings import require


@dataclass(frozen=True)
class Gaussian(Forgery):
    """Sends Gaussian noise under every name.

    Args:
        strength: Standard deviation of each element, > 0.
    Shapes: [d] -> [d].
    Source: Blanchard et al., NeurIPS 2017, arXiv 1703.02757, its experiments, with a standard deviation of 200.
    """

    strength: float = 1.0

    name = "gaussian"
    formula = "delta_i ~ N(0, strength^2 I)"

    def __post_init__(self) -> None:
        require(0 < self.strength < math.inf, "Gaussian.strength", self.strength, "must be > 0 and finite")

    def forge(self, vector: Tensor, *, seed: int) -> Tensor:
        """Draw on the CPU: the same noise on every device."""
        noise = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
        return noise.mul_(self.strength).to(vector.device)
