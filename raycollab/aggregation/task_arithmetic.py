"""Task arithmetic: updates add up."""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.settings import require
from raycollab.spec import DELTA, Segments
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class TaskArithmetic(Aggregator):
    """Sum of the deltas times a scale: agents that learned different tasks are not made shorter by one another.

    An agent that fails is missing from the sum, and so the step is shorter. Ignores weights. Other vectors, such as
    buffers, are averaged.

    Args:
        scale: Factor on the sum; 1 / k is the uniform mean of k agents.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Source: Ilharco et al., ICLR 2023, arXiv 2212.04089, section 2, with a delta of the round for a task vector.
    """

    scale: float

    maskable = True
    formula = "delta = scale * sum_i delta_i"

    def __post_init__(self) -> None:
        accepted = "must be > 0 and finite; 1 adds deltas as they are"
        require(0 < self.scale < math.inf, "TaskArithmetic.scale", self.scale, accepted)

    def largest_weight(self, examples: float) -> float:
        """One."""
        del examples
        return 1.0

    def weighed(self, update: Update) -> Update:
        """With weight 1."""
        return replace(update, weight=1.0)

    def collect(self, update: Update, round: Round) -> Partial:
        """The update with weight 1."""
        del round
        return WeightedSum.of(self.weighed(update))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Scale the sum of the deltas."""
        del seed
        sums = cast(WeightedSum, total)
        delta = torch.zeros_like(params)
        for segments, part in sums.vectors[DELTA].items():
            (segments or Segments.all(delta.numel())).add_into(delta, part.value)
        return sums.mean().with_vectors(**{DELTA: delta * self.scale}), state
