"""How updates become one: partials are a monoid, an aggregator turns their total into an update.

Hosts make a partial of a block of agents, the driver adds the blocks' partials in block order. What an aggregator
needs of single updates is said by its partial: a `WeightedSum` is one vector however many agents there are, a `Stack`
visibly keeps [k, d].
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.spec import Coverage, ParamSpec, Segments
from raycollab.types import Round, State, Step, Update

_SLICE = 2**17  # elements of a sum that is worked on at a time: half a MiB


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
    def total(cls, partials: Sequence[Self]) -> Self:
        """The sum of one or more in this order; override it where having all of them at once helps."""
        total = partials[0]
        if len(partials) > 1:
            total = total + partials[1]  # a new value, which later ones may be added into
        for partial in partials[2:]:
            total += partial
        return total


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


@dataclass
class WeightedSum(Partial):
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
        total = type(self)()
        total += self
        total += other
        return total

    def __iadd__(self, other: Self) -> Self:
        """Add in place; the tensors of self must be its own."""
        for name, sums in other.vectors.items():
            mine = self.vectors.setdefault(name, {})
            for segments, sum in sums.items():
                if segments in mine:
                    mine[segments].weight += sum.weight
                    mine[segments].vector.add_(sum.vector, alpha=sum.times)
                else:
                    mine[segments] = Sum(sum.weight, sum.vector * sum.times)
        for name, (weight, value) in other.scalars.items():
            before = self.scalars.get(name, (0.0, 0.0))
            self.scalars[name] = (before[0] + weight, before[1] + value)
        self.count += other.count
        self.weight += other.weight
        return self

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

    def check(self) -> None:
        """Raise UpdateError if updates cover different elements, which a rule over whole rows cannot compare."""
        if any(update.coverage is not None for update in self.updates):
            partial = [update.agent for update in self.updates if update.coverage is not None]
            raise UpdateError(
                f"agents {partial} exchange only a part of the model; a rule over whole vectors needs all of it"
            )

    def vectors(self, name: str) -> tuple[Tensor, ...]:
        """A vector of every update by its name: k times [d].

        Raises: UpdateError if updates cover different elements.
        """
        self.check()
        return tuple(update.vectors[name] for update in self.updates)

    def shares(self) -> Tensor:
        """Weight of each update over the sum of all: float64 [k].

        Raises: UpdateError if the weights sum to zero.
        """
        weights = torch.tensor([update.weight * update.discount for update in self.updates], dtype=torch.float64)
        if not weights.sum() > 0:
            raise UpdateError(f"the weights of {self.count} updates sum to 0: at least one must be positive")
        return weights / weights.sum()

    def names(self) -> list[str]:
        """Names of the vectors that every update brought."""
        return sorted(set.intersection(*(set(update.vectors) for update in self.updates)))


def total_of(partials: Sequence[Partial]) -> Partial | None:
    """Sum of partials that are all there, in the order given; None for no partials."""
    return type(partials[0]).total(partials) if partials else None


def add_up(partials: Iterable[Partial]) -> Partial | None:
    """Sum of partials as they come, with no more than two held; the same bits as `total_of`. None for no partials."""
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
        partial: What hosts send; a Stack costs [k, d] of memory, a WeightedSum [d].
        needs: Vectors and scalars that updates must bring beside "delta" for the rule to work.
        takes_discounts: Whether updates may count less than in full, as stale ones do: not where agents remember theirs
            in full and the rule's state must stay in step.
        formula: What it computes, in one line of plain text.
    """

    partial: ClassVar[type[Partial]] = WeightedSum
    needs: ClassVar[tuple[str, ...]] = ()
    takes_discounts: ClassVar[bool] = True
    formula: ClassVar[str] = ""

    @property
    def min_updates(self) -> int:
        """Updates without which a round of this rule means nothing."""
        return 1

    @property
    def laws(self) -> frozenset[str]:
        """Which of "weights", "failure", "identity", "robustness" it holds: tests/contracts/test_laws_of_rules.py."""
        return frozenset()

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """Raise ConfigError if it cannot merge the least that a round brings: updates of any `arriving` of these."""
        del names, arriving

    def check_coverage(self, coverage: Coverage) -> None:
        """Raise ModelError if it cannot merge updates of an agent that holds this of the model."""
        del coverage

    def check(self, total: Partial) -> None:
        """Raise UpdateError if it cannot merge what arrived; cheap, as the driver asks before a round is accepted."""
        if isinstance(total, WeightedSum):
            total.check()

    def bind(self, spec: ParamSpec) -> Self:
        """The rule for vectors of this form; override it in rules that go by parameters' names."""
        del spec
        return self

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    def tells(self, state: State) -> Mapping[str, float]:
        """Scalars that the next round brings to every agent, for `collect`: what the rule has learned so far."""
        del state
        return {}

    def collect(self, update: Update, round: Round) -> Partial:
        """The partial of one update, where the agent runs: nothing else of the update leaves it."""
        del round
        return self.partial.of(update)

    @abstractmethod
    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Make one update of the total; its vectors carry the names that the updates had."""
