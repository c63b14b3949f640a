"""Inner-product manipulation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.aggregation import Rows
from raycollab.attacks.base import Collusion
from raycollab.settings import require


@dataclass(frozen=True)
class InnerProduct(Collusion):
    """Bad agents send the honest mean backwards, so that the merged step points away from where it should go.

    A small strength hides among honest updates and turns rules that look for outliers; the mean of n updates, f of them
    bad, is turned only by a strength above (n - f) / f.

    Args:
        strength: Factor epsilon on the turned mean, > 0.
    Shapes: [k, d] -> [d].
    Source: Xie et al., UAI 2019, arXiv 1903.03936; the mean is unweighted. Karimireddy et al., ICLR 2022,
        use 0.1.
    """

    strength: float = 0.1

    name = "ipm"
    formula = "delta_bad = -strength * mean_honest(delta)"

    def __post_init__(self) -> None:
        require(0 < self.strength < math.inf, "InnerProduct.strength", self.strength, "must be > 0 and finite")

    def forge(self, honest: Rows, num_bad: int, chosen: int) -> Tensor:
        """The mean, turned."""
        return honest.combine(torch.full((len(honest),), -self.strength / len(honest), dtype=torch.float64))
