"""How updates become one: partials are a monoid, an aggregator turns their total into an update.

Hosts make a partial of a block of agents, the driver adds the blocks' partials in block order. What an aggregator
needs of single updates is said by its partial: a `WeightedSum` is one vector however many agents there are, a `Stack`
visibly keeps [k, d].
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from torch import Tensor

from raycollab.aggregation.objective import Objective
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.data import Source
from raycollab.spec import Coverage, ParamSpec
from raycollab.types import Round, State, Step, Update


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
    def inner(self) -> "tuple[Aggregator, ...]":
        """The rules that it is made of, if it is."""
        return ()

    @property
    def sums(self) -> bool:
        """Whether all that hosts send are weighted sums, which can be worked out slice by slice."""
        return self.partial is WeightedSum

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

    def validates_on(self) -> Source | None:
        """Data that only the driver opens, by which the rule judges merges; None if it judges none."""
        return None

    def judged(self, objective: Objective) -> Self:
        """The rule with a way to judge merges, at the vectors of one round; for rules that validate."""
        del objective
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
