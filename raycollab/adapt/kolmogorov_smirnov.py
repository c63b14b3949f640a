"""The Kolmogorov-Smirnov test of every feature."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.adapt.detector import Detector, Verdict
from raycollab.settings import require
from raycollab.types import State


@dataclass(frozen=True)
class KolmogorovSmirnov(Detector):
    """Alarms when the distribution of any feature is another one, with the level shared out among the features.

    Args:
        level: Chance of a false alarm in a round, in (0, 1). A run has many rounds: 1e-4 leaves 60 of them 0.6 %.
    Shapes: [n, f], [m, f].
    Source: Rabanser et al., NeurIPS 2019, arXiv 1810.11953, section 3.2: univariate tests with Bonferroni's correction.
        The threshold is the asymptotic one, which is somewhat too large for few examples.
    """

    level: float = 1e-4

    formula = "max_j sup_x |F_j(x) - G_j(x)| > sqrt(log(2 f / level) / 2 * (n + m) / (n m))"

    def __post_init__(self) -> None:
        require(0 < self.level < 1, "KolmogorovSmirnov.level", self.level, "must be in (0, 1)")

    def update(self, values: Tensor, reference: Tensor, state: State, *, seed: int) -> tuple[Verdict, State]:
        """Compare all features at once; nothing is remembered."""
        del seed
        (n, f), m = values.shape, len(reference)
        one, other = values.T.contiguous().sort(1).values, reference.T.contiguous().sort(1).values  # [f, n], [f, m]
        steps = torch.cat([one, other], 1)  # [f, n + m]: the distributions differ most at one of these
        below = [torch.searchsorted(each, steps, right=True).double() / each.shape[1] for each in (one, other)]
        threshold = math.sqrt(math.log(2 * f / self.level) / 2 * (n + m) / (n * m))
        return Verdict(float((below[0] - below[1]).abs().max()), threshold), state
