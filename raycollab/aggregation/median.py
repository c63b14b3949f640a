"""The coordinate-wise median."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.sorting import sorted_rows
from raycollab.aggregation.stack import Stack
from raycollab.types import State, Update


@dataclass(frozen=True)
class Median(RowRule):
    """Coordinate-wise median of the updates; the mean of the two middle values for an even number.

    Tolerates fewer than half bad agents. Of one or two updates, of which it can tell none to be bad, it is the mean:
    such rounds are not refused, because a bound on the bad ones is not among its settings; `FailureConfig.min_agents`
    sets one. Ignores weights: a weight is a claim an attacker can make.

    Shapes: updates of [d], k of them -> [d]. Memory: the updates and about three times `chunk_bytes`.
    Source: Yin et al., ICML 2018, arXiv 1803.01498, Definition 1.
    """

    formula = "delta_j = median_i delta_ij"
    laws = frozenset({"failure", "identity", "robustness"})

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Take the median of every element of every vector."""
        del params, seed
        stack = cast(Stack, total)
        vectors = {name: self.rows(stack, name).by_column(_median) for name in stack.names()}
        return Update("", float(stack.count), vectors), state


def _median(block: Tensor) -> Tensor:
    middle = sorted_rows(block, range((len(block) - 1) // 2, len(block) // 2 + 1))
    return (middle[0] + middle[-1]) / 2 if len(middle) > 1 else middle[0]
