"""Fisher-weighted averaging."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.errors import UpdateError
from raycollab.norms import l2_norm
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update

_FISHER = "fisher"
_LARGEST = 1e32  # of what is added to a sum: a million of these still add up in float32


@dataclass(frozen=True)
class FisherMean(Aggregator):
    """Mean of each element of the deltas by weight times Fisher information: who knows most of it counts most.

    Elements of which nobody knows anything are averaged by weight. Learners send the diagonal by `Fisher`, twice the
    bytes of a mean. Other vectors, such as buffers, are averaged by weight.

    Args:
        floor: Fisher information that each agent has at least, > 0.
    Shapes: updates of [d] and "fisher" [d] -> [d]; memory twice [d] per block, whatever the number of agents.
    Source: Matena and Raffel, NeurIPS 2022, arXiv 2111.09832, equation 4; with all agents starting at one point the
        mean of deltas is that of parameters.
    """

    floor: float = 1e-6

    needs: ClassVar[tuple[str, ...]] = (_FISHER,)
    weighs = False
    laws = frozenset({"failure", "identity", "weights"})
    formula = "delta_j = sum_i p_i F_ij delta_ij / sum_i p_i F_ij"

    def __post_init__(self) -> None:
        require(0 < self.floor < math.inf, "FisherMean.floor", self.floor, "must be > 0 and finite")

    def collect(self, update: Update, round: Round) -> Partial:
        """Both vectors times the weight, the delta also times the diagonal."""
        fisher = update.vectors[_FISHER].clamp(min=self.floor)
        weighed = update.vectors[DELTA] * fisher
        norm = l2_norm(weighed)
        if not norm * max(update.weight, 1.0) < _LARGEST:
            raise UpdateError(
                f"agent {update.agent!r} round {round.index}: delta times fisher has norm {norm:.3g} and weight "
                f"{update.weight:g}; it is kept out of the sum, which would overflow"
            )
        return WeightedSum.of(update.with_vectors(**{DELTA: weighed, _FISHER: fisher}))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the information that arrived."""
        del params, seed
        mean = cast(WeightedSum, total).mean()
        fisher = mean.vectors[_FISHER].clamp(min=self.floor)  # elements that nobody sent are zero
        others = {name: vector for name, vector in mean.vectors.items() if name != _FISHER}
        return replace(mean, vectors={**others, DELTA: mean.vectors[DELTA] / fisher}), state
