"""The kernel two-sample test."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.adapt.detector import Detector, Verdict
from raycollab.settings import require
from raycollab.types import State


@dataclass(frozen=True)
class MMD(Detector):
    """Alarms when the maximum mean discrepancy is larger than in nearly all random divisions of the same examples.

    Args:
        level: Chance of a false alarm in a round, in (0, 1).
        permutations: Divisions that are drawn, at least 1 / level - 1.
    Shapes: [n, f], [m, f]; memory [n + m, n + m].
    Source: Gretton et al., JMLR 2012, equation 5 (biased), with a Gaussian kernel whose width is the median distance,
        and the threshold by permutation.
    """

    level: float = 0.001
    permutations: int = 999

    formula = "mean k(x, x') + mean k(y, y') - 2 mean k(x, y), k = exp(-|x - y|^2 / 2 median^2)"

    def __post_init__(self) -> None:
        require(0 < self.level < 1, "MMD.level", self.level, "must be in (0, 1)")
        enough = (self.permutations + 1) * self.level >= 1 - 1e-9
        least = f"must be >= {1 / self.level - 1:.0f} for level={self.level:g}: fewer never reach it"
        require(enough, "MMD.permutations", self.permutations, least)

    def update(self, values: Tensor, reference: Tensor, state: State, *, seed: int) -> tuple[Verdict, State]:
        """Compare, and draw the threshold; nothing is remembered."""
        both = torch.cat([values, reference]).double()
        squares = torch.cdist(both, both).square()
        apart = squares[squares > 0]
        width = apart.median() if len(apart) else torch.ones(())
        kernel = torch.exp(-squares / (2 * width))
        n, m = len(values), len(reference)
        shares = torch.cat([torch.full((n,), 1 / n), torch.full((m,), -1 / m)]).to(kernel)  # [n + m]
        generator = torch.Generator().manual_seed(seed)
        orders = torch.stack([torch.randperm(n + m, generator=generator) for _ in range(self.permutations)])
        drawn = _discrepancies(shares[orders.to(shares.device)], kernel)
        allowed = int((self.permutations + 1) * self.level + 1e-9) - 1  # of the drawn ones that may be larger
        threshold = float(drawn.sort(descending=True).values[allowed])
        return Verdict(float(_discrepancies(shares[None], kernel)[0]), max(threshold, 1e-12)), state


def _discrepancies(shares: Tensor, kernel: Tensor) -> Tensor:
    """shares_p^T kernel shares_p for each division p: [p, k], [k, k] -> [p]."""
    return (shares @ kernel * shares).sum(1)
