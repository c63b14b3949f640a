"""How updates become one: partials are a monoid, an aggregator turns their total into an update.

Hosts make a partial of a block of agents, the driver adds the blocks' partials in block order. What an aggregator
needs of single updates is said by its partial: a `WeightedSum` is one vector however many agents there are, a `Stack`
visibly keeps [k, d].
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.types import Coverage, State, Step, Update


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


@dataclass
class Sums:
    """Weighted sums of vectors and scalars over updates that cover the same elements."""

    weight: float
    vectors: dict[str, Tensor]
    scalars: dict[str, float]


@dataclass
class WeightedSum(Partial):
    """Sums of weight times vector, with the weight that arrived beside them, by what the updates cover."""

    count: int = 0
    by_coverage: dict[Coverage | None, Sums] = field(default_factory=dict)

    @classmethod
    def of(cls, update: Update) -> Self:
        """Weight times the update."""
        vectors = {name: vector * update.weight for name, vector in update.vectors.items()}
        scalars = {name: value * update.weight for name, value in update.scalars.items()}
        return cls(1, {update.coverage: Sums(update.weight, vectors, scalars)})

    def __add__(self, other: Self) -> Self:
        """Both sums, in new tensors."""
        copy = {
            coverage: Sums(sums.weight, {name: vector.clone() for name, vector in sums.vectors.items()}, dict(sums.scalars))
            for coverage, sums in self.by_coverage.items()
        }
        total = type(self)(self.count, copy)
        total += other
        return total

    def __iadd__(self, other: Self) -> Self:
        """Add in place; the tensors of self must be its own."""
        for coverage, sums in other.by_coverage.items():
            mine = self.by_coverage.get(coverage)
            if mine is None:
                copy = {name: vector.clone() for name, vector in sums.vectors.items()}
                self.by_coverage[coverage] = Sums(sums.weight, copy, dict(sums.scalars))
                continue
            mine.weight += sums.weight
            for name, vector in sums.vectors.items():
                mine.vectors[name] += vector
            for name, value in sums.scalars.items():
                mine.scalars[name] = mine.scalars.get(name, 0.0) + value
        self.count += other.count
        return self

    def mean(self) -> Update:
        """Each element divided by the weight that arrived for it; elements that nobody sent stay at zero.

        Raises: UpdateError if the weights sum to zero.
        """
        weight = sum(sums.weight for sums in self.by_coverage.values())
        if not weight > 0:
            raise UpdateError(f"the weights of {self.count} updates sum to {weight}: at least one must be positive")
        names = sorted({name for sums in self.by_coverage.values() for name in sums.vectors})
        vectors = {name: self._mean_of(name) for name in names}
        scalars: dict[str, float] = {}
        for sums in self.by_coverage.values():
            for name, value in sums.scalars.items():
                scalars[name] = scalars.get(name, 0.0) + value / weight
        return Update("", weight, vectors, scalars)

    def _mean_of(self, name: str) -> Tensor:
        held = [(coverage, sums) for coverage, sums in self.by_coverage.items() if name in sums.vectors]
        if len(held) == 1 and held[0][0] is None:
            return held[0][1].vectors[name] / held[0][1].weight
        return self._mean_by_element(name, sorted(held, key=_by_ranges))

    @staticmethod
    def _mean_by_element(name: str, held: "list[tuple[Coverage | None, Sums]]") -> Tensor:
        first = held[0][1].vectors[name]
        size = next((c.of(name).size for c, _ in held if c is not None), first.numel())
        total = torch.zeros(size, dtype=first.dtype)
        weight = torch.zeros(size, dtype=torch.float64)
        for coverage, sums in held:
            vector = sums.vectors[name]
            if coverage is None:
                total += vector
                weight += sums.weight
            else:
                segments = coverage.of(name)
                segments.add_into(total, vector)
                segments.add_into(weight, torch.full((vector.numel(),), sums.weight, dtype=torch.float64))
        return torch.where(weight > 0, total / weight.clamp(min=1e-300), torch.zeros((), dtype=torch.float64)).to(first.dtype)


def _by_ranges(item: tuple[Coverage | None, Sums]) -> tuple[tuple[int, int], ...]:
    coverage = item[0]
    return () if coverage is None else coverage.params.ranges + coverage.buffers.ranges


@dataclass
class Stack(Partial):
    """Every update by itself, in block order: [k, d] in memory, for rules that compare updates."""

    count: int = 0
    updates: tuple[Update, ...] = ()

    @classmethod
    def of(cls, update: Update) -> Self:
        """One row."""
        return cls(1, (update,))

    def __add__(self, other: Self) -> Self:
        """The rows of both."""
        return type(self)(self.count + other.count, self.updates + other.updates)

    def matrix(self, name: str) -> Tensor:
        """The rows of a vector by its name: [k, d].

        Raises: UpdateError if updates cover different elements, which a rule over whole rows cannot compare.
        """
        if any(update.coverage is not None for update in self.updates):
            partial = [update.agent for update in self.updates if update.coverage is not None]
            raise UpdateError(f"agents {partial} exchange only a part of the model; a rule over whole vectors needs all of it")
        return torch.stack([update.vectors[name] for update in self.updates])

    def names(self) -> list[str]:
        """Names of the vectors that every update brought."""
        return sorted(set.intersection(*(set(update.vectors) for update in self.updates)))


def add_up(partials: Iterable[Partial]) -> Partial | None:
    """Sum in the order given; the first addition makes a new value, later ones reuse it. None for no partials."""
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


class Aggregator(Step, ABC):
    """A rule that turns the total of all partials into one update.

    Attributes:
        partial: What hosts send.
        needs: Vectors and scalars that updates must bring beside "delta" for the rule to work.
        laws: Which of the laws in tests/contracts it holds.
    """

    partial: ClassVar[type[Partial]] = WeightedSum
    needs: ClassVar[tuple[str, ...]] = ()
    laws: ClassVar[frozenset[str]] = frozenset()

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    def collect(self, update: Update) -> Partial:
        """The partial of one update, on the host."""
        return self.partial.of(update)

    @abstractmethod
    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Make one update of the total; its vectors carry the names that the updates had."""

