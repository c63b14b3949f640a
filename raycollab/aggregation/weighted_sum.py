"""The weighted sum: one vector, however many agents there are."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from raycollab.aggregation.partial import NamedSums
from raycollab.errors import UpdateError
from raycollab.spec import Segments
from raycollab.types import Update

_SLICE = 2**17  # elements of a sum that is worked on at a time: half a MiB


@dataclass
class Sum:
    """A weighted sum of one vector, and the weight in it.

    Args:
        weight: The sum of weights.
        vector: The sum but for a factor.
        times: The factor, which is multiplied in by the addition that comes next: one pass over the vector, not two.
    """

    weight: float
    vector: Tensor
    times: float = 1.0

    @property
    def value(self) -> Tensor:
        """The sum itself; never to be written into."""
        return self.vector if self.times == 1.0 else self.vector * self.times

    def own(self) -> "Sum":
        """The same sum in new memory, multiplied out."""
        return Sum(self.weight, self.vector * self.times)

    def add(self, other: "Sum") -> None:
        """Add in place; this one must be multiplied out."""
        self.weight += other.weight
        self.vector.add_(other.vector, alpha=other.times)


@dataclass
class WeightedSum(NamedSums):
    """Sums of weight times value, with the weight that arrived beside each.

    Vectors are summed by name and by the elements that they hold: agents may send different vectors and different
    parts of them, and each element is divided by the weight that arrived for it.
    """

    count: int = 0
    weight: float = 0.0
    vectors: dict[str, dict[Segments | None, Sum]] = field(default_factory=dict)
    scalars: dict[str, tuple[float, float]] = field(default_factory=dict)  # weight, weight times value

    @classmethod
    def of(cls, update: Update) -> Self:
        """Weight times the update, not yet multiplied."""
        weight = update.weight * update.discount
        vectors = {
            name: {update.segments(name): Sum(weight, vector.float(), weight)}
            for name, vector in update.vectors.items()
        }
        return cls(1, weight, vectors, {name: (weight, value * weight) for name, value in update.scalars.items()})

    @classmethod
    def total(cls, partials: Sequence[Self]) -> Self:
        """The same bits as one addition after another, in one pass over memory."""
        if len(partials) == 1:
            return partials[0]
        terms: dict[str, dict[Segments | None, list[Sum]]] = {}
        for partial in partials:
            for name, sums in partial.vectors.items():
                for segments, sum in sums.items():
                    terms.setdefault(name, {}).setdefault(segments, []).append(sum)
        total = cls()
        for partial in partials:
            total += replace(partial, vectors={})
        total.vectors = {
            name: {segments: _summed(sums) for segments, sums in each.items()} for name, each in terms.items()
        }
        return total

    def check(self) -> None:
        """Raise UpdateError if the weights sum to zero."""
        if not self.weight > 0:
            raise UpdateError(
                f"the weights of {self.count} updates sum to {self.weight}: at least one must be positive"
            )

    def mean(self) -> Update:
        """Each element divided by the weight that arrived for it; elements that nobody sent stay at zero.

        Raises: UpdateError if the weights sum to zero.
        """
        self.check()
        vectors = {name: _mean(sums) for name, sums in sorted(self.vectors.items())}
        scalars = {name: value / weight for name, (weight, value) in self.scalars.items() if weight > 0}
        return Update("", self.weight, vectors, scalars)


def _summed(terms: Sequence[Sum]) -> Sum:
    """Their sum in order, slice by slice: a slice of it stays in the cache while those of the terms are read."""
    first = terms[0]
    total = torch.empty_like(first.vector)
    for start in range(0, total.numel(), _SLICE):
        place = slice(start, start + _SLICE)
        part = torch.mul(first.vector[place], first.times, out=total[place])
        for term in terms[1:]:
            part.add_(term.vector[place], alpha=term.times)
    weight = first.weight
    for term in terms[1:]:
        weight += term.weight
    return Sum(weight, total)


def _mean(sums: dict[Segments | None, Sum]) -> Tensor:
    """Mean of a vector over updates that hold different elements of it."""
    whole = sums.get(None)
    if whole is not None and len(sums) == 1:
        return whole.value / whole.weight if whole.weight > 0 else torch.zeros_like(whole.vector)
    size = whole.vector.numel() if whole is not None else next(s.size for s in sums if s is not None)
    total = torch.zeros(size)
    weight = torch.zeros(size, dtype=torch.float64)
    for segments, sum in sorted(sums.items(), key=lambda item: () if item[0] is None else item[0].ranges):
        segments = segments or Segments.all(size)
        segments.add_into(total, sum.value)
        segments.add_into(weight, torch.full((sum.vector.numel(),), sum.weight, dtype=torch.float64))
    return torch.where(weight > 0, total / weight.clamp(min=1e-300), 0.0).float()
