"""Bulyan: Krum chooses updates, and of their values those nearest to the median count."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.krum import krum_scores
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.sorting import sorted_rows
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update


@dataclass(frozen=True)
class Bulyan(RowRule):
    """Krum chooses k - 2f updates one by one; each element is the mean of their k - 4f values nearest to the median.

    Tolerates f bad ones of k >= 4f + 3 updates, also those that are near in norm but far in a few elements. Ignores
    weights: a weight is a claim an attacker can make. Updates are chosen by their deltas; other vectors, such as
    buffers, are merged element by element over the same updates.

    Args:
        f: Bad updates to tolerate, a whole number >= 0.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, [k, k], and about three times `chunk_bytes`.
    Raises: ConfigError for an f that is negative or no whole number.
    Source: El Mhamdi et al., ICML 2018, arXiv 1802.07927, section 4. Of r updates that are left Krum looks at the
        r - f - 2 nearest, and at one where that is none: the paper leaves the last choices open.
    """

    f: int

    formula = "delta_j = mean of the k-4f values nearest to the median of delta_ij over the k-2f that Krum(f) chooses"

    def __post_init__(self) -> None:
        super().__post_init__()
        accepted = "must be a whole number >= 0 of bad updates"
        require(isinstance(self.f, int) and self.f >= 0, "Bulyan.f", self.f, accepted)

    @property
    def min_updates(self) -> int:
        """Of 4f + 3 updates 2f + 3 are chosen, and three values of each element count."""
        return 4 * self.f + 3

    @property
    def laws(self) -> frozenset[str]:
        """Those of Krum; with f = 0 it is the uniform mean."""
        return frozenset({"failure", "identity"} | ({"robustness"} if self.f else set()))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Choose by the deltas, then merge every element of every vector."""
        del params, seed
        stack = cast(Stack, total)
        chosen = _choose(self.rows(stack, DELTA).squared_distances(), self.f)
        merge = partial(_mean_around_median, count=len(chosen) - 2 * self.f)
        vectors = {}
        for name in stack.names():
            rows = self.rows(stack, name).vectors
            vectors[name] = Rows(tuple(rows[i] for i in chosen), self.chunk_bytes).by_column(merge)
        return Update("", float(len(chosen)), vectors), state


def _choose(squared_distances: Tensor, f: int) -> list[int]:
    """The places of k - 2f rows, each the best of those that are left, in the order of rows: of [k, k]."""
    left = list(range(len(squared_distances)))
    for _ in range(len(squared_distances) - 2 * f):
        scores = krum_scores(squared_distances[left][:, left], f)
        left.pop(int(scores.argmin()))
    return sorted(set(range(len(squared_distances))) - set(left))


def _mean_around_median(block: Tensor, count: int) -> Tensor:
    """Mean of each column's `count` values nearest to its median, neighbours in sorted order: [k, c] -> [c]."""
    ordered = sorted_rows(block, range(len(block)))
    size = len(ordered)
    median = (ordered[(size - 1) // 2] + ordered[size // 2]) / 2
    first = torch.zeros_like(median)  # rank of the smallest that counts
    least = torch.full_like(median, torch.inf)
    for start in range(size - count + 1):
        reach = torch.maximum(median - ordered[start], ordered[start + count - 1] - median)
        first.masked_fill_(reach < least, start)
        torch.minimum(least, reach, out=least)
    total = torch.zeros_like(median)
    for rank, values in enumerate(ordered):
        always = size - count <= rank < count
        total += values if always else torch.where((first <= rank) & (rank < first + count), values, 0.0)
    return total / count
