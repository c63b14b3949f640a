"""pfl's weighted mean of users' statistics: weighed by data points, accumulated by its aggregator, averaged."""

from collections.abc import Callable, Sequence

import torch
from pfl.aggregate.base import SumAggregator
from pfl.internal.ops import pytorch_ops
from pfl.internal.ops.selector import set_framework_module
from pfl.stats import MappedVectorStatistics
from torch import Tensor

from benchmarks.workloads.sums import measure


def prepare(vectors: Sequence[Tensor], weights: Sequence[float]) -> Callable[[], Tensor]:
    """A buffer for the one vector that is in memory at a time, as in pfl: it is filled, weighed in place and added."""
    set_framework_module(pytorch_ops)
    scratch, aggregator = torch.empty_like(vectors[0]), SumAggregator()

    def add() -> Tensor:
        total = None
        for vector, weight in zip(vectors, weights, strict=True):
            statistics = MappedVectorStatistics({"vector": scratch.copy_(vector)})
            statistics.reweight(weight)
            if total is None:
                statistics = statistics.apply_elementwise(torch.clone)
            total = aggregator.accumulate(accumulated=total, user_stats=statistics)
        total.average()
        return total["vector"]

    return add


if __name__ == "__main__":
    measure(prepare, "pfl", "torch", "numpy")
