"""The mean of clipped updates, where the norm to clip at follows a quantile of the agents' norms."""

import math
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.norms import l2_norm
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update

_NORM, _UNCLIPPED = "clip_norm", "unclipped"


@dataclass(frozen=True)
class AdaptiveClip(Aggregator):
    """Mean of the deltas clipped to a norm that a given share of them stays below.

    Each agent clips at the norm that the round brings and says whether its delta was short enough; the driver moves the
    norm towards the quantile. Both means are weighted by examples. No noise is added, neither to the deltas nor to what
    agents say: this alone is not differential privacy.

    Args:
        quantile: Share of deltas that pass unclipped in the long run, in [0, 1].
        lr: Rate of the norm's logarithm, > 0.
        initial: The norm of the first round, > 0.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Source: Andrew et al., NeurIPS 2021, arXiv 1905.03871, Algorithm 1 without noise; there every agent weighs the same.
    """

    quantile: float = 0.5
    lr: float = 0.2
    initial: float = 1.0

    maskable = True
    laws = frozenset({"weights", "failure"})
    formula = "delta = sum_i p_i delta_i min(1, C / |delta_i|);  C *= exp(-lr * (share with |delta_i| <= C - quantile))"

    def __post_init__(self) -> None:
        require(0 <= self.quantile <= 1, "AdaptiveClip.quantile", self.quantile, "must be in [0, 1]")
        require(0 < self.lr < math.inf, "AdaptiveClip.lr", self.lr, "must be > 0 and finite")
        require(0 < self.initial < math.inf, "AdaptiveClip.initial", self.initial, "must be > 0 and finite")

    def init(self, params: Tensor) -> State:
        """The norm of the first round."""
        del params
        return {_NORM: float(self.initial)}

    def tells(self, state: State) -> dict[str, float]:
        """The norm that agents clip at."""
        return {_NORM: state[_NORM]}

    def collect(self, update: Update, round: Round) -> Partial:
        """The clipped update times its weight, and whether it was short enough as it came."""
        delta, limit = update.vectors[DELTA], round.scalars[_NORM]
        norm = l2_norm(delta)
        short = norm <= limit
        scalars = {**update.scalars, _UNCLIPPED: float(short)}
        clipped = delta if short else delta * (limit / norm)
        return WeightedSum.of(replace(update.with_vectors(**{DELTA: clipped}), scalars=scalars))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Take the mean, and move the norm towards the quantile."""
        del params, seed
        mean = cast(WeightedSum, total).mean()
        norm = state[_NORM] * math.exp(-self.lr * (mean.scalars[_UNCLIPPED] - self.quantile))
        return mean, {_NORM: norm}
