"""The coordinate-wise median."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator, Partial, Stack
from raycollab.types import State, Update


@dataclass(frozen=True)
class Median(Aggregator):
    """Coordinate-wise median of the updates; the mean of the two middle values for an even number.

    Tolerates fewer than half bad agents. Ignores weights: a weight is a claim an attacker can make.

    Shapes: updates of [d], k of them -> [d]. Memory: about 20 * k * d bytes while sorting.
    Source: Yin et al., ICML 2018, arXiv 1803.01498, Definition 1.
    """

    partial = Stack
    laws = frozenset({"identity", "robustness"})

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Take the median of every element of every vector."""
        del params, seed
        stack = cast(Stack, total)
        vectors = {name: _median(stack.matrix(name)) for name in stack.names()}
        return Update("", float(stack.count), vectors), state


def _median(rows: Tensor) -> Tensor:
    ordered = rows.sort(dim=0).values  # [k, d]
    middle = len(rows) // 2
    return ordered[middle] if len(rows) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
