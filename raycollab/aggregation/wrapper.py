"""Rules around another rule."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.objective import Objective
from raycollab.aggregation.partial import Partial
from raycollab.data import Source
from raycollab.spec import Coverage, ParamSpec
from raycollab.types import Round, State, Update


class Wrapper(Aggregator):
    """A rule that changes what another one sees, and is like it in everything else: override what is not.

    Attributes:
        rule: The other rule, a field of the dataclass that derives from this.
    """

    rule: Any  # an Aggregator; a subclass's field may ask for a narrower one

    @property
    @abstractmethod
    def laws(self) -> frozenset[str]:
        """What is left of the rule's."""

    @property
    def partial(self) -> type[Partial]:  # type: ignore[override]
        """That of the rule."""
        return self.rule.partial

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the rule."""
        return self.rule.needs

    @property
    def inner(self) -> tuple[Aggregator, ...]:
        """The rule."""
        return (self.rule,)

    @property
    def min_updates(self) -> int:
        """Those of the rule."""
        return self.rule.min_updates

    @property
    def weighs_equally(self) -> bool:
        """As the rule does."""
        return self.rule.weighs_equally

    @property
    def takes_discounts(self) -> bool:  # type: ignore[override]
        """As the rule does."""
        return self.rule.takes_discounts

    @property
    def several(self) -> bool:  # type: ignore[override]
        """As the rule does."""
        return self.rule.several

    @property
    def remakes(self) -> bool:  # type: ignore[override]
        """As the rule does."""
        return self.rule.remakes

    @property
    def weighs(self) -> bool:  # type: ignore[override]
        """As the rule does."""
        return self.rule.weighs

    def weighed(self, update: Update) -> Update:
        """As the rule does."""
        return self.rule.weighed(update)

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """As the rule does."""
        self.rule.check_agents(names, arriving)

    def check_coverage(self, coverage: Coverage) -> None:
        """As the rule does."""
        self.rule.check_coverage(coverage)

    def check(self, total: Partial) -> None:
        """As the rule does."""
        self.rule.check(total)

    def bind(self, spec: ParamSpec) -> Self:
        """The rule for vectors of this form."""
        return replace(self, rule=self.rule.bind(spec))  # type: ignore[type-var]

    def validates_on(self) -> Source | None:
        """As the rule does."""
        return self.rule.validates_on()

    def validates_on_hosts(self) -> bool:
        """As the rule does."""
        return self.rule.validates_on_hosts()

    def judged(self, objective: Objective) -> Self:
        """The rule with a way to judge merges."""
        return replace(self, rule=self.rule.judged(objective))  # type: ignore[type-var]

    def init(self, params: Tensor) -> State:
        """The rule's state."""
        return self.rule.init(params)

    def tells(self, state: State) -> Mapping[str, float]:
        """What the rule tells."""
        return self.rule.tells(state)

    def ended(self, state: State) -> str:
        """As the rule does."""
        return self.rule.ended(state)

    def collect(self, update: Update, round: Round) -> Partial:
        """What the rule collects."""
        return self.rule.collect(update, round)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Merge by the rule."""
        return self.rule.update(total, state, params, seed=seed)
