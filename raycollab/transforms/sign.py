"""Signs instead of values."""

import math
from dataclasses import dataclass

from torch import Tensor

from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class Sign(Transform):
    """Every element becomes its sign times one scale; zeros stay zeros.

    Left of `Mean("uniform")` agents vote on the direction of each element.

    Args:
        scale: Size of the step in each element, > 0; None takes the mean absolute value of the delta.
    Source: signSGD, Bernstein et al., ICML 2018, arXiv 1802.04434, Algorithm 1; with None the scaled sign of
        Karimireddy et al., ICML 2019, arXiv 1901.09847, Algorithm 1, without its memory.
    """

    scale: float | None = None

    remembers = False
    formula = "scale * sign(delta),  scale = mean_j |delta_j| unless given"

    def __post_init__(self) -> None:
        good = self.scale is None or 0 < self.scale < math.inf
        require(good, "Sign.scale", self.scale, "must be > 0 and finite, or null for the mean absolute value")

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Take the signs."""
        del params, seed
        return delta.sign() * (delta.abs().mean() if self.scale is None else self.scale), state
