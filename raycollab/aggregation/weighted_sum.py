"""The weighted sum: one vector, however many agents there are."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import NamedSums, Tree
from raycollab.errors import UpdateError
from raycollab.spec import Segments
from raycollab.types import Update
from raycollab.vectors import by_slices, empty


@dataclass
class Sum:
    """A weighted sum of one vector, and the weight in it.

    Args:
        weight: The sum of weights.
        vector: The sum but for a factor.
        times: The factor, which is multiplied in with the division that comes last: the largest of the terms', so that
            two are added in one pass, as larger + ratio * smaller with a ratio of at most 1. The ratio is rounded to
            float32, too: sums of whole numbers are not exact.
    """

    weight: float
    vector: Tensor
    times: float = 1.0

    @property
    def value(self) -> Tensor:
        """The sum itself; never to be written into."""
        return self.vector if self.times == 1.0 else self.vector * self.times

    def own(self) -> "Sum":
        """The same sum in new memory."""
        return Sum(self.weight, self.vector.clone(), self.times)

    def over(self, divisor: float) -> Tensor:
        """The sum divided by a number, in new memory."""
        return self.value / divisor if self.times == 0 else sum_of(self, divisor / self.times)

    def add(self, other: "Sum") -> None:
        """Add in place, into memory that must be its own."""
        self.weight += other.weight
        self.times = _add_into(self.vector, self.vector, self.times, other.vector, other.times)


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

    def __add__(self, other: Self) -> Self:
        """Both sums, in new tensors."""
        return self.total((self, other)).worked_out()

    def worked_out(self) -> Self:
        """The same with every vector there is, as it crosses to other processes."""
        self.vectors = {
            name: {segments: Sum(held.weight, held.vector, held.times) for segments, held in sums.items()}
            for name, sums in self.vectors.items()
        }
        return self

    @classmethod
    def total(cls, tree: Tree) -> Self:
        """The same bits as one addition after another, worked out where a vector is needed, in one pass over memory."""
        if isinstance(tree, cls):
            return tree
        total = _head(tree)
        for name, segments in dict.fromkeys(_held(tree)):
            total.vectors.setdefault(name, {})[segments] = TreeSum(_terms(tree, name, segments))
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


Terms = Any
"""Sums, and in which order they are added: Sum | tuple[Terms, Terms]."""


def _head(tree: Tree) -> Any:
    """Everything but the vectors, added up."""
    if isinstance(tree, WeightedSum):
        return replace(tree, vectors={})
    left, right = cast(tuple[Tree, Tree], tree)
    return NamedSums.__add__(_head(left), _head(right))


def _held(tree: Tree) -> Iterator[tuple[str, Segments | None]]:
    """The vectors that there are, by name and by the elements that they hold."""
    if isinstance(tree, WeightedSum):
        yield from ((name, segments) for name, sums in tree.vectors.items() for segments in sums)
    else:
        for each in cast(tuple[Tree, Tree], tree):
            yield from _held(each)


def _terms(tree: Tree, name: str, segments: Segments | None) -> Terms | None:
    """The sums of one vector; None where nobody sent it."""
    if isinstance(tree, WeightedSum):
        return tree.vectors.get(name, {}).get(segments)
    left, right = (_terms(each, name, segments) for each in cast(tuple[Tree, Tree], tree))
    return (left, right) if left is not None and right is not None else left if right is None else right


class TreeSum(Sum):
    """A tree of sums that is worked out when it is needed, and divided in the same pass.

    Args:
        terms: Sums, and in which order they are added.
    """

    def __init__(self, terms: Terms):
        self.weight = _weight(terms)
        self.times = times_of(terms)
        self._terms = terms

    @cached_property
    def vector(self) -> Tensor:  # type: ignore[override]
        """The sum but for its factor."""
        return sum_of(self._terms)

    def own(self) -> Sum:
        """The same sum in new memory."""
        return super().own() if "vector" in vars(self) else Sum(self.weight, sum_of(self._terms), self.times)


def terms_of(terms: Terms) -> Terms:
    """The same with the terms of sums that nobody has worked out yet in their places."""
    if isinstance(terms, TreeSum) and "vector" not in vars(terms):  # else more may have been added into it since
        return terms_of(terms._terms)
    return terms if isinstance(terms, Sum) else tuple(map(terms_of, terms))


def times_of(terms: Terms) -> float:
    """The factor that their sum lacks."""
    return terms.times if isinstance(terms, Sum) else _larger(*map(times_of, terms))


def sum_of(terms: Terms, divisor: float = 1.0) -> Tensor:
    """Their sum but for its factor, over a number, slice by slice: what is in between never leaves the cache.

    On a GPU it is one slice.
    """
    first = terms = terms_of(terms)
    while not isinstance(first, Sum):
        first = first[0]
    on_cpu = first.vector.device.type == "cpu"
    total = empty(first.vector.numel()) if on_cpu else torch.empty_like(first.vector)

    def work(place: slice) -> None:
        out = total[place]
        if isinstance(terms, Sum):
            torch.div(terms.vector[place], divisor, out=out)
            return
        _sum_into(out, terms, place)
        if divisor != 1.0:
            out.div_(divisor)

    if on_cpu:
        by_slices(total.numel(), work)
    else:
        work(slice(None))
    return total


def _sum_into(out: Tensor, terms: tuple[Terms, Terms], place: slice) -> float:
    """Write a slice of two terms' sum; returns the factor that it lacks."""
    left, left_times = _read(terms[0], place, out)
    right, right_times = _read(terms[1], place, out if isinstance(terms[0], Sum) else torch.empty_like(out))
    return _add_into(out, left, left_times, right, right_times)


def _read(terms: Terms, place: slice, memory: Tensor) -> tuple[Tensor, float]:
    """A slice of a sum, worked out in that memory if it is not there yet, and the factor that it lacks."""
    return (terms.vector[place], terms.times) if isinstance(terms, Sum) else (memory, _sum_into(memory, terms, place))


def _add_into(out: Tensor, left: Tensor, left_times: float, right: Tensor, right_times: float) -> float:
    """Write the sum of both but for the larger factor, which is returned."""
    times = _larger(left_times, right_times)
    if times != left_times:
        left, left_times, right, right_times = right, right_times, left, left_times
    torch.add(left, right, alpha=right_times / times if times else 1.0, out=out)
    return times


def _larger(left: float, right: float) -> float:
    return max(left, right, key=abs)


def _weight(terms: Terms) -> float:
    return terms.weight if isinstance(terms, Sum) else sum(map(_weight, terms))


def _mean(sums: dict[Segments | None, Sum]) -> Tensor:
    """Mean of a vector over updates that hold different elements of it."""
    whole = sums.get(None)
    if whole is not None and len(sums) == 1:
        return whole.over(whole.weight) if whole.weight > 0 else torch.zeros_like(whole.vector)
    size = whole.vector.numel() if whole is not None else next(s.size for s in sums if s is not None)
    total = torch.zeros(size)
    weight = torch.zeros(size, dtype=torch.float64)
    for segments, sum in sorted(sums.items(), key=lambda item: () if item[0] is None else item[0].ranges):
        segments = segments or Segments.all(size)
        segments.add_into(total, sum.value)
        segments.add_into(weight, torch.full((sum.vector.numel(),), sum.weight, dtype=torch.float64))
    return torch.where(weight > 0, total / weight.clamp(min=1e-300), 0.0).float()
