"""Krum and multi-Krum."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update


@dataclass(frozen=True)
class Krum(RowRule):
    """The update whose nearest neighbours are nearest; with `num_selected` > 1, multi-Krum: the mean of the best ones.

    Tolerates f bad ones of k >= 2f + 3 updates. Ignores weights: a weight is a claim an attacker can make. Distances
    are those of the deltas; other vectors, such as buffers, come from the same updates.

    Args:
        f: Bad updates to tolerate, a whole number >= 0.
        num_selected: Updates whose mean is taken, >= 1; with `None` all but f, as in the paper's experiments.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, [k, k], and about three times `chunk_bytes`.
    Raises: ConfigError for an f that is negative or no whole number, or nothing selected.
    Source: Blanchard et al., NeurIPS 2017, Definition 4.1 and section 4.3 (multi-Krum), arXiv 1703.02757. Of equal
        scores the first in order of blocks wins. A round needs num_selected + f updates, so that no bad one must be
        selected; the paper leaves that open.
    """

    f: int
    num_selected: int | None = 1

    formula = "delta = mean of the num_selected delta_i of least sum_j |delta_i - delta_j|^2 over their k-f-2 nearest j"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.f, int) and self.f >= 0, "Krum.f", self.f, "must be a whole number >= 0 of bad updates")
        accepted = "must be >= 1 updates, or None for all but f"
        number = self.num_selected
        require(number is None or (isinstance(number, int) and number >= 1), "Krum.num_selected", number, accepted)

    @property
    def laws(self) -> frozenset[str]:
        """Robust where it tolerates one."""
        return frozenset({"failure", "identity"} | ({"robustness"} if self.f else set()))

    @property
    def min_updates(self) -> int:
        """A majority of good ones around each good one."""
        return max(2 * self.f + 3, self.f + (self.num_selected or 0))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Score every update by its delta and take the mean of the best."""
        del params, seed
        stack = cast(Stack, total)
        scores = krum_scores(self.rows(stack, DELTA).squared_distances(), self.f)
        count = self.num_selected or stack.count - self.f
        best = scores.argsort(stable=True)[:count]
        shares = torch.zeros(stack.count).index_fill_(0, best, 1 / count)
        vectors = {name: self.rows(stack, name).combine(shares) for name in stack.names()}
        return Update("", float(count), vectors), state


def krum_scores(squared_distances: Tensor, f: int) -> Tensor:
    """Sum of squared distances from each row to its k - f - 2 nearest others, or to the nearest: [k, k] -> [k]."""
    neighbours = max(1, len(squared_distances) - f - 2)
    return squared_distances.sort(dim=1).values[:, 1 : neighbours + 1].sum(1)  # the nearest of all is the row itself
