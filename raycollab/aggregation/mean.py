"""The weighted mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator, Partial, WeightedSum
from raycollab.config import require
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Mean(Aggregator):
    """Weighted mean of the updates: each element is divided by the weight that arrived for it.

    Args:
        weights: "examples" weighs by what each agent reports, "uniform" gives every agent the same.
        by_agent: Given weights by agent's name instead; agents that are not named get 0.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: ConfigError for negative weights or weights that are all zero.
    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1 (server).
    """

    weights: str = "examples"
    by_agent: Mapping[str, float] | None = None

    formula = "delta = sum_i w_i delta_i / sum_i w_i"

    def __post_init__(self) -> None:
        require(
            self.weights in ("examples", "uniform"), "Mean.weights", self.weights, "must be 'examples' or 'uniform'"
        )
        if self.by_agent is not None:
            good = all(weight >= 0 for weight in self.by_agent.values()) and sum(self.by_agent.values()) > 0
            require(good, "Mean.by_agent", dict(self.by_agent), "weights must be >= 0 and not all zero")

    @property
    def laws(self) -> frozenset[str]:
        """Those of a mean; that weights count only where it goes by what agents report."""
        reported = self.weights == "examples" and self.by_agent is None
        return frozenset({"failure", "identity", "weights"} if reported else {"failure", "identity"})

    def collect(self, update: Update, round: Round) -> Partial:
        """The update times its weight."""
        del round
        if self.by_agent is not None:
            update = replace(update, weight=self.by_agent.get(update.agent, 0.0))
        elif self.weights == "uniform":
            update = replace(update, weight=1.0)
        return WeightedSum.of(update)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the weight that arrived."""
        del params, seed
        return cast(WeightedSum, total).mean(), state
