"""The mean of clipped updates with noise: private for whole parties."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import check_whole
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.errors import BudgetError
from raycollab.norms import l2_norm
from raycollab.privacy import (
    RDP,
    Accountant,
    History,
    Noise,
    PrivacyBudget,
    check_no_buffers,
    party_level,
    read_key,
    spent_more,
)
from raycollab.settings import require
from raycollab.spec import DELTA, Coverage, ParamSpec
from raycollab.types import RULE_EPSILON, Round, State, Update

_ASKED, _RATE = "asked", "sample_rate"
HISTORY = "history"


@dataclass(frozen=True, kw_only=True)
class PrivateMean(Aggregator):
    """Sum of the deltas, each clipped by its host, with the driver's noise, over the number of agents that were asked.

    Protects a whole party from those who see the models, not from the driver and the hosts, which see its update; nor
    does it cover the tables of the run folder, which hold exact losses. Every update counts the same. The divisor is
    fixed before anybody answers, so agents that fail shorten the step: it must not tell who was there.

    Of agents that are sampled, each round counts by its share, as the choice is a secret to those who only see models.
    Take amplified=False where it is none: whoever knows the run's seed can work it out.

    Args:
        noise: Standard deviation of the noise on the sum, over max_norm.
        max_norm: L2 norm to which each delta is clipped.
        budget: What may be spent on any party in all, and at which delta; the run ends before it is exceeded.
        accountant: Counts it: RDP(), or the tighter and slower PRV().
        amplified: Whether who was sampled is secret.
        noise_key: File with 32 random bytes or more on the driver's node that nobody else can read. Noise depends on
            what it is added to as well, so other runs may have the same key; each has a budget of its own, and what
            they tell of the same data adds up. Without a key the noise comes from the run's seed, and whoever knows
            that can take it off.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: ConfigError before round 1 for a budget below one round, a delta of 1/n agents or more, or a key that others
        can read; ModelError for buffers that would travel without noise, or agents that hold a part of the model.
    Source: McMahan et al., ICLR 2018, arXiv 1710.06963, Algorithm 1 with the fixed-denominator estimator.
    """

    noise: float
    max_norm: float
    budget: PrivacyBudget = PrivacyBudget()  # noqa: RUF009 - frozen
    accountant: Accountant = RDP()  # noqa: RUF009
    amplified: bool = True
    noise_key: str = ""

    takes_discounts = False
    weighs_equally = True
    formula = "delta = (sum_i delta_i min(1, C / |delta_i|) + noise C n) / agents asked,  n ~ N(0, 1)"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("noise", "max_norm"):
            good = 0 < getattr(self, name) < math.inf
            require(good, f"{kind}.{name}", getattr(self, name), "must be > 0 and finite")
        for name, form in (("budget", PrivacyBudget), ("accountant", Accountant)):
            value = getattr(self, name)
            require(isinstance(value, form), f"{kind}.{name}", value, f"must be a {form.__name__}")

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """The budget must suffice for a round, and delta be small for so many parties."""
        self.budget.check_size(len(names), "agents")
        cost = self._epsilon(self._after([], arriving / len(names)))
        accepted = f"one round costs epsilon={cost:.4g}: raise it, add noise, or let fewer agents take part in a round"
        require(cost <= self.budget.epsilon, f"{type(self).__name__}.budget", self.budget, accepted)

    def check_coverage(self, coverage: Coverage) -> None:
        """Every update must hold all of the model, or a party would show by what is missing."""
        check_whole(self, coverage)

    def bind(self, spec: ParamSpec) -> Self:
        """The rule itself, if there is nothing beside parameters.

        Raises: ModelError for buffers.
        """
        check_no_buffers(type(self).__name__, spec)
        return self

    def init(self, params: Tensor) -> State:
        """Nothing was told."""
        del params
        self.source()
        return {HISTORY: []}

    def ended(self, state: State) -> str:
        """That the budget does not suffice for a round like the last one."""
        history = state[HISTORY]
        rate = max((rate for _, rate, _ in history), default=0.0)
        if self._epsilon(self._after(history, rate)) <= self.budget.epsilon:
            return ""
        return f"another round would exceed {type(self).__name__}.budget={self.budget!r}"

    def weighed(self, update: Update) -> Update:
        """With weight 1."""
        return replace(update, weight=1.0)

    def collect(self, update: Update, round: Round) -> Partial:
        """The clipped delta, and no other vector: nothing would hide it."""
        delta, limit = update.vectors[DELTA], self.limit(round.scalars)
        norm = l2_norm(delta)
        clipped = delta if norm <= limit else delta * (limit / norm)
        scalars = {_ASKED: float(len(round.agents)), _RATE: round.scalars.get(_RATE, 1.0), **self.told(norm <= limit)}
        return WeightedSum.of(replace(self.weighed(update), vectors={DELTA: clipped}, scalars=scalars))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Add noise to the sum and divide by the agents that were asked.

        Raises: BudgetError if more agents than before were asked, so that the round would exceed the budget.
        """
        sums = cast(WeightedSum, total)
        mean = sums.mean()
        asked, arrived = round(mean.scalars[_ASKED]), float(sums.count)
        history = self._after(state[HISTORY], math.ceil(mean.scalars[_RATE] * 1e9) / 1e9)
        epsilon = self._epsilon(history)
        if epsilon > self.budget.epsilon:
            raise BudgetError(f"a round of {asked} agents would spend epsilon={epsilon:.4g} in all, of {self.budget!r}")
        summed = mean.vectors[DELTA].double() * arrived
        deviation = self.delta_noise(asked) * self.limit(self.tells(state))
        drawn = self.source().normal(params.numel(), deviation, "driver", seed, params, summed)
        delta = ((summed + drawn.to(params.device)) / asked).float()
        learned = self.learned(mean.scalars, arrived, asked, state, seed)
        return Update("", arrived, {DELTA: delta}, {RULE_EPSILON: epsilon}), {**learned, HISTORY: history}

    def source(self) -> Noise:
        """Where noise comes from.

        Raises: ConfigError for a key that cannot be read, or that others can read.
        """
        return Noise(read_key(self.noise_key, f"{type(self).__name__}.noise_key"))

    def limit(self, scalars: Mapping[str, float]) -> float:
        """The norm to clip at, by what a round tells."""
        del scalars
        return self.max_norm

    def told(self, unclipped: bool) -> dict[str, float]:
        """What an agent tells beside its delta."""
        del unclipped
        return {}

    def delta_noise(self, asked: int) -> float:
        """Noise on the sum of so many, over the limit."""
        del asked
        return self.noise

    def learned(self, told: Mapping[str, float], arrived: float, asked: int, state: State, seed: int) -> dict[str, Any]:
        """What the next round needs to know, beside the history."""
        del told, arrived, asked, state, seed
        return {}

    def _after(self, history: History, rate: float) -> list[list[float]]:
        return spent_more(history, *party_level(self.noise, min(rate, 1.0) if self.amplified else 1.0), 1)

    def _epsilon(self, history: History) -> float:
        return self.accountant.composed(history, self.budget.delta)
