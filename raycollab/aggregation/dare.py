"""DARE: drop elements at random, and rescale the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator, Partial
from raycollab.aggregation.mean import Mean
from raycollab.config import require
from raycollab.spec import DELTA, Coverage, ParamSpec
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Dare(Aggregator):
    """Sets random elements of each agent's delta to zero and scales up the others, then merges by another rule.

    Each element keeps its expectation. Elements are drawn where the agent runs, anew for each agent and round; vectors
    beside the delta pass as they are.

    Args:
        drop: Probability that an element is dropped, in [0, 1).
        rule: Merges what is left.
    Shapes: those of the rule; memory of the rule.
    Source: Yu et al., ICML 2024, arXiv 2311.03099, section 3, with a delta of the round for the task vector.
    """

    drop: float
    rule: Aggregator = Mean()  # noqa: RUF009 - frozen

    formula = "rule(m_i * delta_i / (1 - drop)),  m_ij = 0 with probability drop, else 1"

    def __post_init__(self) -> None:
        require(0 <= self.drop < 1, "Dare.drop", self.drop, "must be in [0, 1)")
        require(isinstance(self.rule, Aggregator), "Dare.rule", self.rule, "must be an Aggregator, such as Mean()")

    @property
    def partial(self) -> type[Partial]:  # type: ignore[override]
        """That of the rule."""
        return self.rule.partial

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the rule."""
        return self.rule.needs

    @property
    def min_updates(self) -> int:
        """Those of the rule."""
        return self.rule.min_updates

    @property
    def laws(self) -> frozenset[str]:
        """The rule's, which hold only in expectation where elements are dropped."""
        return frozenset() if self.drop else self.rule.laws

    @property
    def takes_discounts(self) -> bool:  # type: ignore[override]
        """As the rule does."""
        return self.rule.takes_discounts

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
        return replace(self, rule=self.rule.bind(spec))

    def init(self, params: Tensor) -> State:
        """The rule's state."""
        return self.rule.init(params)

    def tells(self, state: State) -> Mapping[str, float]:
        """What the rule tells."""
        return self.rule.tells(state)

    def collect(self, update: Update, round: Round) -> Partial:
        """Drop and rescale; drawn on the CPU, so that it is the same wherever the agent computes."""
        delta = update.vectors[DELTA]
        generator = torch.Generator().manual_seed(round.seed_for("dare", update.agent))
        kept = (torch.rand(delta.shape, generator=generator) >= self.drop).to(delta.device)
        return self.rule.collect(update.with_vectors(**{DELTA: delta * kept / (1 - self.drop)}), round)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Merge by the rule."""
        return self.rule.update(total, state, params, seed=seed)
