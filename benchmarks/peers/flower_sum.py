"""Flower's weighted mean of what clients sent: `aggregate_arrayrecords`, which FedAvg calls, over replies in memory."""

from collections.abc import Callable, Sequence

from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from torch import Tensor

from benchmarks.workloads.sums import measure


def prepare(vectors: Sequence[Tensor], weights: Sequence[float]) -> Callable[[], Tensor]:
    """The replies' records, as they are when FedAvg has them."""
    records = [
        RecordDict({"arrays": ArrayRecord({"vector": vector}), "metrics": MetricRecord({"num-examples": weight})})
        for vector, weight in zip(vectors, weights, strict=True)
    ]
    return lambda: aggregate_arrayrecords(records, "num-examples").to_torch_state_dict()["vector"]


if __name__ == "__main__":
    measure(prepare, "flwr", "torch", "numpy")
