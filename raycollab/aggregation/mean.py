"""The weighted mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.exact_sum import ExactSum
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.by_name import check_known, check_names
from raycollab.errors import ConfigError
from raycollab.settings import require
from raycollab.types import Round, State, Update

_COUNTED = "counted"


@dataclass(frozen=True)
class Mean(Aggregator):
    """Weighted mean of the updates: each element is divided by the weight that arrived for it.

    Args:
        weights: "examples" weighs by the weight that each agent reports, its number of examples unless its learner says
            otherwise; "tokens" by what `Task.count` counted in this round's steps, such as tokens, each pass anew;
            "uniform" gives every agent the same.
        by_agent: Given weights by agent's name instead; agents that are not named get 0.
        exact: Add in fixed point, so that the bits do not depend on RunConfig.num_blocks either, for twice the memory
            and bytes (an upload codec leaves them as they are). Weight times element must sum to less than 1.3e8; see
            ExactSum for the error, below 7.3e-12 where weights are >= 1.
        scalar: Weigh by this number of each update instead, >= 0, such as "with[image]" of ModalityCounts.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: ConfigError for weights that are negative, not finite or all zero, and for a name that is no text; before a
        run, for a name that no agent has, and if a round can bring none but agents of weight 0.
    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1 (server).
    """

    weights: str = "examples"
    by_agent: Mapping[str, float] | None = None
    exact: bool = False
    scalar: str | None = None

    formula = "delta = sum_i w_i delta_i / sum_i w_i"

    def __post_init__(self) -> None:
        accepted = ("examples", "tokens", "uniform")
        require(self.weights in accepted, "Mean.weights", self.weights, f"must be one of {accepted}")
        if self.by_agent is not None:
            check_names("Mean.by_agent", self.by_agent)
            weights = self.by_agent.values()
            good = all(0 <= weight < math.inf for weight in weights) and any(weights)
            require(good, "Mean.by_agent", dict(self.by_agent), "weights must be >= 0, finite and not all zero")
        alone = self.scalar is None or (self.weights == "examples" and self.by_agent is None)
        require(alone, "Mean.scalar", self.scalar, "weighs by itself: leave weights and by_agent as they are")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What it weighs by, if that is a scalar of the update."""
        if self.scalar is not None:
            return (self.scalar,)
        return (_COUNTED,) if self.weights == "tokens" and self.by_agent is None else ()

    @property
    def laws(self) -> frozenset[str]:
        """Those of a mean; that weights count only where it goes by the weights that agents report."""
        reported = self.weights == "examples" and self.by_agent is None and self.scalar is None
        return frozenset({"failure", "identity", "weights"} if reported else {"failure", "identity"})

    @property
    def sums(self) -> bool:
        """Not where it adds in fixed point."""
        return not self.exact

    @property
    def maskable(self) -> bool:  # type: ignore[override]
        """Where it does not add in fixed point already."""
        return not self.exact

    def largest_weight(self, examples: float) -> float | None:
        """By what it goes; of tokens, and of another scalar, only a round knows."""
        if self.by_agent is not None:
            return max(self.by_agent.values())
        if self.scalar is not None:
            return None
        return {"examples": examples, "uniform": 1.0}.get(self.weights)

    @property
    def weighs_equally(self) -> bool:
        """With uniform weights."""
        return self.weights == "uniform" and self.by_agent is None

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """Weights by name must be of these agents, and each round must bring one of them."""
        if self.by_agent is None:
            return
        check_known("Mean.by_agent", self.by_agent, names)
        idle = [name for name in names if not self.by_agent.get(name)]
        if len(idle) >= arriving:
            raise ConfigError(
                f"Mean.by_agent={dict(self.by_agent)!r}: a round can bring as few as {arriving} updates, all of them "
                f"from agents of weight 0: {', '.join(idle)}; give them weight, or let more agents take part"
            )

    def collect(self, update: Update, round: Round) -> Partial:
        """The update times its weight."""
        del round
        update = self.weighed(update)
        return ExactSum.of(update) if self.exact else WeightedSum.of(update)

    def weighed(self, update: Update) -> Update:
        """The update with the weight that it has here."""
        if self.by_agent is not None:
            return replace(update, weight=self.by_agent.get(update.agent, 0.0))
        if self.scalar is not None:
            return replace(update, weight=update.scalars[self.scalar])
        if self.weights == "tokens":
            return replace(update, weight=update.scalars[_COUNTED])
        return replace(update, weight=1.0) if self.weights == "uniform" else update

    def check(self, total: Partial) -> None:
        """The weights must not sum to zero, nor an exact sum leave its range."""
        cast(WeightedSum | ExactSum, total).check()

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the weight that arrived."""
        del params, seed
        return cast(WeightedSum | ExactSum, total).mean(), state
