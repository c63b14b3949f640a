"""FedAsync: mix an agent's own parameters into the newest ones."""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import check_whole
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.errors import UpdateError
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA, PARAMS, Coverage
from raycollab.types import Round, State, Update

_DISCOUNT = "discount"


@dataclass(frozen=True)
class FedAsync(Aggregator):
    """w <- (1 - a) w + a w_i, where w_i are the parameters that the agent ended with and a = mixing * discount.

    w_i is the version that the agent began with plus its delta, so an update also pulls back what was learned since;
    `FedBuff` adds the delta to the newest version instead. Goes with the mode `Buffered(size=1)`; k updates in a round
    are mixed as the mean of their k results. Agents send parameters, which a codec writes with the error of their size
    and not of a delta's. Buffers, of which the driver's rule does not see the newest, move by a times their change;
    other vectors, such as a control, are summed in full.

    Args:
        mixing: The weight of an update that is not stale, in (0, 1].
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: ModelError before the first round for an agent that exchanges only a part of the model.
    Source: Xie et al., 2019, arXiv 1903.03934, Algorithm 1 (server); the pull of its agents towards where they began
        is `Prox`.
    """

    mixing: float = 0.6

    formula = "w <- w + mixing / K * sum_i discount_i (w_i - w)"
    laws = frozenset({"failure"})

    def __post_init__(self) -> None:
        require(0 < self.mixing <= 1, "FedAsync.mixing", self.mixing, "must be in (0, 1]")

    def check_coverage(self, coverage: Coverage) -> None:
        """Only whole vectors can be mixed."""
        check_whole(self, coverage)

    def weighed(self, update: Update) -> Update:
        """With weight 1."""
        return replace(update, weight=1.0)

    def collect(self, update: Update, round: Round) -> Partial:
        """What the agent ended with, times its discount."""
        if update.segments(DELTA) is not None:
            raise UpdateError(
                f"agent {update.agent!r} exchanges only a part of the model; FedAsync mixes whole vectors: "
                f"exchange all of it or take FedBuff()"
            )
        delta = update.vectors[DELTA]
        vectors = {**update.vectors, DELTA: (round.vectors[PARAMS].to(delta.device) + delta) * update.discount}
        if BUFFERS in vectors:
            vectors[BUFFERS] = vectors[BUFFERS] * update.discount
        scalars = {**update.scalars, _DISCOUNT: update.discount}
        return WeightedSum.of(replace(update, weight=1.0, discount=1.0, vectors=vectors, scalars=scalars))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """The difference between the mixture and the newest parameters."""
        del seed
        mean = cast(WeightedSum, total).mean()
        changed = {DELTA: self.mixing * (mean.vectors[DELTA] - mean.scalars[_DISCOUNT] * params)}
        if BUFFERS in mean.vectors:
            changed[BUFFERS] = self.mixing * mean.vectors[BUFFERS]
        return mean.with_vectors(**changed), state
