"""Norm bounding."""

import math
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.norms import l2_norm
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class NormBound(Aggregator):
    """Weighted mean of the deltas, each scaled down to at most this L2 norm by the host that its agent runs on.

    The bound holds whatever an agent does, unlike that of a transform, which runs with the agent. Other vectors, such
    as buffers, are averaged as they come.

    Args:
        max_norm: Largest norm that a delta counts with, > 0.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: ConfigError unless max_norm is positive and finite.
    Source: Sun et al., 2019, arXiv 1911.07963, section 4 (norm thresholding of updates).
    """

    max_norm: float

    formula = "delta = sum_i p_i delta_i min(1, max_norm / |delta_i|)"
    maskable = True
    laws = frozenset({"failure", "weights"})

    def __post_init__(self) -> None:
        require(0 < self.max_norm < math.inf, "NormBound.max_norm", self.max_norm, "must be > 0 and finite")

    def collect(self, update: Update, round: Round) -> Partial:
        """The clipped update times its weight."""
        del round
        delta = update.vectors[DELTA]
        norm = l2_norm(delta)
        clipped = delta * (self.max_norm / norm) if norm > self.max_norm else delta
        return WeightedSum.of(update.with_vectors(**{DELTA: clipped}))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the weight that arrived."""
        del params, seed
        return cast(WeightedSum, total).mean(), state
