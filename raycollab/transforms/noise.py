"""Gaussian noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class GaussianNoise(Transform):
    """Adds independent normal noise to every element.

    Left of the aggregator each agent adds its own, right of it the driver adds it once. How private that makes a run
    depends on how far deltas are clipped before; nothing is accounted for here.

    Args:
        std: Standard deviation of the noise on each element, >= 0.
    Source: the Gaussian mechanism, Dwork and Roth, 2014, Appendix A.
    """

    std: float

    remembers = False
    formula = "delta + std * n,  n ~ N(0, 1)"

    def __post_init__(self) -> None:
        require(0 <= self.std < math.inf, "GaussianNoise.std", self.std, "must be >= 0 and finite")

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Add noise that is drawn on the CPU, so that it is the same wherever the agent computes."""
        del params
        noise = torch.randn(delta.shape, generator=torch.Generator().manual_seed(seed))
        return delta + self.std * noise.to(delta.device), state
