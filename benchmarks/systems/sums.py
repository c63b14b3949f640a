"""Ways to make a weighted mean: raycollab's own, a chain of torch's add_, and numpy."""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import raycollab as rc
from benchmarks.workloads.sums import measure
from raycollab.aggregation import Node, total_of
from raycollab.vectors import use_all_cores

Prepared = Callable[[], Tensor]


def raycollab(vectors: Sequence[Tensor], weights: Sequence[float]) -> Prepared:
    """What hosts and driver do with updates: a partial each, their sum pair by pair, and the rule's mean."""
    rule, round = rc.Mean(), rc.Round(1, 0, 0, {})
    pairs = zip(vectors, weights, strict=True)
    updates = [rc.Update(f"agent-{i}", weight, {"delta": vector}) for i, (vector, weight) in enumerate(pairs)]
    params = torch.zeros(len(vectors[0]))
    state = rule.init(params)

    def add() -> Tensor:
        nodes = [Node(0, index, rule.collect(update, round)) for index, update in enumerate(updates)]
        total = total_of(nodes, range(len(nodes)))
        return rule.update(total, state, params, seed=0)[0].vectors["delta"]

    return add


def chain(vectors: Sequence[Tensor], weights: Sequence[float]) -> Prepared:
    """Torch's add_ with a weight, into memory that is there already."""
    total, scale = torch.zeros_like(vectors[0]), 1.0 / sum(weights)

    def add() -> Tensor:
        torch.mul(vectors[0], weights[0] * scale, out=total)
        for vector, weight in zip(vectors[1:], weights[1:], strict=True):
            total.add_(vector, alpha=weight * scale)
        return total

    return add


def numpy(vectors: Sequence[Tensor], weights: Sequence[float]) -> Prepared:
    """Numpy's multiply and add, into memory that is there already."""
    arrays, scale = [vector.numpy() for vector in vectors], 1.0 / sum(weights)
    total, weighted = np.zeros_like(arrays[0]), np.zeros_like(arrays[0])

    def add() -> Tensor:
        np.multiply(arrays[0], np.float32(weights[0] * scale), out=total)
        for array, weight in zip(arrays[1:], weights[1:], strict=True):
            np.multiply(array, np.float32(weight * scale), out=weighted)
            np.add(total, weighted, out=total)
        return torch.from_numpy(total)

    return add


WAYS = {"raycollab": raycollab, "torch": chain, "numpy": numpy}

if __name__ == "__main__":
    use_all_cores()
    measure(WAYS[sys.argv[1]], "raycollab", "torch", "numpy")
