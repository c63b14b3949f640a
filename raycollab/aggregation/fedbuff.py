"""FedBuff: the sum of discounted updates over their number."""

import math
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FedBuff(Aggregator):
    """Every update weighs its staleness discount, and the sum is divided by the number of updates.

    So a round of stale updates makes a shorter step. `Mean` divides by the sum of the discounts instead: its step is as
    long as ever, and a single update, or several of one staleness, count in full. Without discounts this is
    `Mean("uniform")`. Goes with the mode `Buffered`.

    Args:
        lr: Server learning rate on the delta, > 0.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Source: Nguyen et al., AISTATS 2022, arXiv 2106.06639, Algorithm 1 (server), with its staleness scaling. K is the
        number of updates that arrived.
    """

    lr: float = 1.0

    maskable = True
    formula = "delta = lr / K * sum_i discount_i delta_i"

    def __post_init__(self) -> None:
        require(0 < self.lr < math.inf, "FedBuff.lr", self.lr, "must be > 0 and finite")

    @property
    def laws(self) -> frozenset[str]:
        """Those of a mean that ignores weights; updates keep their length if the learning rate is 1."""
        return frozenset({"failure", "identity"} if self.lr == 1 else {"failure"})

    def largest_weight(self, examples: float) -> float:
        """One."""
        del examples
        return 1.0

    def weighed(self, update: Update) -> Update:
        """With weight 1."""
        return replace(update, weight=1.0)

    def collect(self, update: Update, round: Round) -> Partial:
        """The discounted vectors, with weight 1."""
        del round
        vectors = {name: vector * update.discount for name, vector in update.vectors.items()}
        return WeightedSum.of(replace(update, weight=1.0, discount=1.0, vectors=vectors))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the number of updates."""
        del params, seed
        mean = cast(WeightedSum, total).mean()
        return mean.with_vectors(**{DELTA: self.lr * mean.vectors[DELTA]}), state
