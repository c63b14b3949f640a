"""ADWIN: a window that is as long as its mean has not changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from raycollab.adapt.detector import Detector, Verdict, excess
from raycollab.settings import require
from raycollab.types import State

_PER_SIZE = 5  # buckets of one size, before two of them become one
_LEAST = 5  # examples on either side of a cut


@dataclass(frozen=True)
class ADWIN(Detector):
    """Alarms when the newer part of a window has a larger mean than the older one, wherever the window is cut.

    Takes the newest examples one by one, each as its excess over the mean of the reference. A smaller mean shortens the
    window as well, and is no alarm: a model that has become better is no drift.

    Args:
        delta: Confidence of a cut, in (0, 1): the chance of a false alarm at each.
        scale: Range of what is watched; the bound is for values in a range of 1. A loss has none: take an ordinary one.
    Shapes: [n, f], [m, f]; an example is its mean over f. Memory: about 5 log2(t) buckets of t examples.
    Source: Bifet and Gavalda, SDM 2007, section 4 (ADWIN2) and equation 3.1 with the variance of the window.
    """

    delta: float = 1e-4
    scale: float = 1.0

    formula = "mean_new - mean_old > sqrt(2/m var log(2/d)) + 2/(3m) log(2/d), 1/m = 1/n_old + 1/n_new, d = delta/log n"

    def __post_init__(self) -> None:
        require(0 < self.delta < 1, "ADWIN.delta", self.delta, "must be in (0, 1)")
        require(0 < self.scale < math.inf, "ADWIN.scale", self.scale, "must be > 0 and finite")

    def init(self) -> State:
        """An empty window: buckets of count, sum and sum of squares, oldest first."""
        return {"buckets": []}

    def update(self, values: Tensor, reference: Tensor, state: State, *, seed: int) -> tuple[Verdict, State]:
        """Take the examples in, then cut once."""
        del seed
        buckets = [tuple(bucket) for bucket in state["buckets"]]
        for value in excess(values, reference):
            buckets.append((1, value / self.scale, (value / self.scale) ** 2))
            buckets = _compressed(buckets)
        ratio, cut = self._worst(buckets)
        return Verdict(max(ratio, 0.0), 1.0), {"buckets": [list(bucket) for bucket in buckets[cut:]]}

    def _worst(self, buckets: Sequence[tuple[float, ...]]) -> tuple[float, int]:
        """The largest rise over its bound, and how many of the oldest buckets a significant change leaves behind."""
        count, total, squares = (sum(column) for column in zip(*buckets, strict=True))
        variance = max(squares / count - (total / count) ** 2, 0.0)
        logarithm = math.log(2 * math.log(max(count, 3)) / self.delta)
        worst, behind, old, older = 0.0, 0, 0.0, 0.0
        for place, (number, sum_, _) in enumerate(buckets[:-1], start=1):
            old, older = old + number, older + sum_
            new = count - old
            if min(old, new) < _LEAST:
                continue
            inverse = 1 / old + 1 / new
            bound = math.sqrt(2 * inverse * variance * logarithm) + 2 / 3 * inverse * logarithm
            rise = ((total - older) / new - older / old) / bound
            worst = max(worst, rise)
            if abs(rise) > 1:
                behind = place
        return worst, behind


def _compressed(buckets: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Two of the oldest buckets of a size made one wherever there are more than a few of it."""
    size = 1
    while True:
        places = [place for place, bucket in enumerate(buckets) if bucket[0] == size]
        if len(places) <= _PER_SIZE:
            return buckets
        first, second = next(iter(pairwise(places)))
        joined = tuple(one + other for one, other in zip(buckets[first], buckets[second], strict=True))
        buckets = [*buckets[:first], joined, *buckets[second + 1 :]]
        size *= 2
