"""A little is enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from raycollab.aggregation import Rows
from raycollab.attacks.base import Collusion
from raycollab.settings import require


@dataclass(frozen=True)
class LittleIsEnough(Collusion):
    """Bad agents send the honest mean, moved by as many standard deviations in each element as still look honest.

    Args:
        strength: Standard deviations z; None takes the most with which enough honest agents are further from the mean
            for the bad ones to be in the majority, by the number of agents that arrived.
    Shapes: [k, d] -> [d].
    Raises: ConfigError without a strength unless more than half of at least three agents are honest.
    Source: Baruch et al., NeurIPS 2019, arXiv 1902.06156, Algorithm 3: s = floor(n / 2 + 1) - f and
        z = quantile((n - f - s) / (n - f)) of the normal distribution. s counts as 1 at least, in rounds that happen to
        have a bad majority; the standard deviation is that of a sample, and 0 for one honest agent.
    """

    strength: float | None = None

    name = "alie"
    formula = "delta_bad = mean_honest(delta) - z * std_honest(delta)"

    def __post_init__(self) -> None:
        good = self.strength is None or 0 < self.strength < math.inf
        require(good, "LittleIsEnough.strength", self.strength, "must be > 0 and finite, or null for the paper's")

    def check(self, num_agents: int, num_bad: int, honest: Sequence[str]) -> None:
        """Raise ConfigError where the formula has no z."""
        good = self.strength is not None or (num_agents >= 3 and 2 * num_bad < num_agents)
        accepted = f"must be < {num_agents}/2 of at least 3 agents, or set strength (z) instead of the paper's formula"
        require(good, "Attack.num_agents", num_bad, accepted)

    def forge(self, honest: Rows, num_bad: int, chosen: int) -> Tensor:
        """Mean less z standard deviations."""
        z = self.strength if self.strength is not None else deviations(len(honest) + num_bad, num_bad)
        if len(honest) == 1:
            return honest.vectors[0]
        return honest.by_column(lambda block: block.mean(0) - z * block.std(0))


def deviations(num_agents: int, num_bad: int) -> float:
    """The paper's z."""
    honest = num_agents - num_bad
    supporters = max(num_agents // 2 + 1 - num_bad, 1)
    share = (honest - supporters) / honest
    return NormalDist().inv_cdf(share) if share > 0 else 0.0
