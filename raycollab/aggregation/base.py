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
from raycollab.aggregation.protocol import AgentSide, DriverSide, Identity
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.data import Source
from raycollab.spec import Coverage, ParamSpec
from raycollab.types import Round, State, Step, Update

OF_ROUND = "round/"  # before a name: a scalar of the aggregate that belongs in the round's row of rounds.parquet


class Aggregator(Step, ABC):
    """A rule that turns the total of all partials into one update.

    Attributes:
        partial: What hosts send; a Stack costs [k, d] of memory, a WeightedSum [d].
        needs: Vectors and scalars that updates must bring beside "delta" for the rule to work.
        takes_discounts: Whether updates may count less than in full, as stale ones do: not where agents remember theirs
            in full and the rule's state must stay in step.
        maskable: Whether its sums can be added in fixed point, under masks, as SecureSum does: numbers of about one
            size, and none under the name of an agent.
        hides_updates: Whether loss and norm of an update stay with its agent, and only means over all are told.
        several: Whether it merges several common models, as learners that ask for `models` need. Nothing may stand
            right of it in a chain then: transforms change "delta" alone, the first model's.
        remakes: Whether it makes other parameters of the same model, of which a delta is no direction: nothing may
            stand right of it in a chain, and all agents of a round start from one version.
        weighs: Whether what it merges is told by one weight for each agent, which stands in agents.parquet.
        formula: What it computes, in one line of plain text.
    """

    partial: ClassVar[type[Partial]] = WeightedSum
    needs: ClassVar[tuple[str, ...]] = ()
    takes_discounts: ClassVar[bool] = True
    maskable: ClassVar[bool] = False
    hides_updates: ClassVar[bool] = False
    several: ClassVar[bool] = False
    remakes: ClassVar[bool] = False
    weighs: ClassVar[bool] = True
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
    def weighs_equally(self) -> bool:
        """Whether every update counts the same, as noise that agents share needs it."""
        return False

    def weighed(self, update: Update) -> Update:
        """The update with the weight that it has here, as its agent reports it: the one that it asks for."""
        return update

    def largest_weight(self, examples: float) -> float | None:
        """The largest weight in its sums of an agent with so many examples; None if rounds decide."""
        return examples

    def agent_side(self, who: Identity) -> AgentSide:
        """Its side for an agent, where that runs."""
        return AgentSide(self.collect, who.name)

    def driver_side(self, run: str) -> DriverSide:
        """Its side at the driver, of a run whose ledger has this number."""
        del run
        return DriverSide()

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
        """Data by which the rule judges merges, which the driver opens; None if it judges none."""
        return None

    def validates_on_hosts(self) -> bool:
        """Whether hosts may open that data too, and judge merges side by side."""
        return False

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

    def ended(self, state: State) -> str:
        """Why no further round may be merged, such as a privacy budget that is spent; empty if one may."""
        del state
        return ""

    def collect(self, update: Update, round: Round) -> Partial:
        """The partial of one update, where the agent runs: nothing else of the update leaves it."""
        del round
        return self.partial.of(update)

    @abstractmethod
    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Make one update of the total; its vectors carry the names that the updates had."""
