"""Clipping by norm."""

import math
from dataclasses import dataclass

from torch import Tensor

from raycollab.norms import l2_norm
from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class ClipNorm(Transform):
    """Scale a delta down to at most this L2 norm; shorter ones pass unchanged.

    Args:
        max_norm: Largest norm, > 0.
    Source: McMahan et al., ICLR 2018, arXiv 1710.06963, section 2.2.
    """

    max_norm: float

    remembers = False
    formula = "delta * min(1, max_norm / |delta|)"

    def __post_init__(self) -> None:
        require(0 < self.max_norm < math.inf, "ClipNorm.max_norm", self.max_norm, "must be > 0 and finite")

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Clip."""
        del params, seed
        norm = l2_norm(delta)
        return (delta * (self.max_norm / norm) if norm > self.max_norm else delta), state
