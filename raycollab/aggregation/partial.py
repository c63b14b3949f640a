"""What hosts send of their agents' updates: partials, which add up in any grouping."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from raycollab.spec import Segments
from raycollab.types import Update


class Partial(ABC):
    """What a host sends for a block of agents; a commutative monoid up to the order of float additions."""

    count: int

    @classmethod
    @abstractmethod
    def of(cls, update: Update) -> Self:
        """The partial of one update; may keep the update's own vectors, and never changes them."""

    @abstractmethod
    def __add__(self, other: Self) -> Self:
        """Both together, as a new value."""

    def __iadd__(self, other: Self) -> Self:
        """The same, where self may be used up; override it to add in place."""
        return self + other

    @classmethod
    def total(cls, tree: "Tree") -> Self:
        """The sum of a tree of partials, pair by pair, as a new value; override it where having all at once helps."""
        return tree if isinstance(tree, Partial) else cls.total(tree[0]) + cls.total(tree[1])  # type: ignore[return-value]


Tree = Partial | tuple["Tree", "Tree"]
"""Partials, and in which order they are added."""


@dataclass
class NamedSums(Partial):
    """Sums by the name of a vector and by the elements that it holds, with the weight that arrived beside each.

    A term has a `weight`; `own()` is a term with memory of its own, and `add(other)` adds in place.
    """

    count: int = 0
    weight: Any = 0
    vectors: dict[str, dict[Segments | None, Any]] = field(default_factory=dict)
    scalars: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # weight, weight times value

    def __add__(self, other: Self) -> Self:
        """Both sums, in new tensors."""
        total = type(self)()
        total += self
        total += other
        return total

    def __iadd__(self, other: Self) -> Self:
        """Add in place; the tensors of self must be its own."""
        for name, terms in other.vectors.items():
            mine = self.vectors.setdefault(name, {})
            for segments, term in terms.items():
                if segments in mine:
                    mine[segments].add(term)
                else:
                    mine[segments] = term.own()
        for name, (weight, value) in other.scalars.items():
            before = self.scalars.get(name, (0, 0))
            self.scalars[name] = (before[0] + weight, before[1] + value)
        self.count += other.count
        self.weight += other.weight
        return self


def add_up(partials: Iterable[Partial]) -> Partial | None:
    """Sum of partials as they come, in this order, with no more than two held; None for no partials."""
    total: Partial | None = None
    own = False
    for partial in partials:
        if total is None:
            total = partial
        elif own:
            total += partial
        else:
            total, own = total + partial, True
    return total
