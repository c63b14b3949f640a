"""Noise that the agents make together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from raycollab.errors import BudgetError
from raycollab.norms import l2_norm
from raycollab.privacy import RDP, Accountant, History, Noise, PrivacyBudget, check_no_buffers, read_key, spent_more
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.transforms.base import Transform
from raycollab.types import LAST, PARTY_EPSILON, State

_HISTORY = "history"


@dataclass(frozen=True, kw_only=True)
class NoiseShare(Transform):
    """Clips a delta and adds the agent's share of the noise: the sum of `agents` such deltas has all of it.

    Left of an aggregator that weighs all the same. With secure sums nobody sees less than `agents` deltas together, and
    a party is protected from driver and hosts, too. Without, whoever sees a single update has only its share to look
    through. Rounds need FailureConfig.min_agents of at least `agents`: fewer would bring less noise than is counted. A
    share of one's own one knows: of k parties that pool what they know, the noise of the others is left.

    Each round in which the agent takes part is counted in full, and the agent remembers how many those were.

    Args:
        noise: Standard deviation of the noise on the sum, over max_norm.
        max_norm: L2 norm to which the delta is clipped.
        agents: How many bring all of the noise together.
        budget: What may be spent on the party in all, and at which delta.
        accountant: Counts it: RDP(), or the tighter and slower PRV().
        noise_key: File with 32 random bytes or more on each party's node that nobody else can read. Without it noise
            comes from the run's seed: for simulations, as whoever knows the seed can take it off.
    Source: Dwork et al., EUROCRYPT 2006 (noise in shares); Kairouz, Liu and Steinke, ICML 2021, arXiv 2102.06387,
        section 1, here with continuous noise.
    """

    noise: float
    max_norm: float
    agents: int
    budget: PrivacyBudget = PrivacyBudget()  # noqa: RUF009 - frozen
    accountant: Accountant = RDP()  # noqa: RUF009
    noise_key: str = ""

    together = True
    formula = "delta min(1, C / |delta|) + noise C / sqrt(agents) n,  n ~ N(0, 1)"

    def __post_init__(self) -> None:
        for name in ("noise", "max_norm"):
            good = 0 < getattr(self, name) < math.inf
            require(good, f"NoiseShare.{name}", getattr(self, name), "must be > 0 and finite")
        require(self.agents >= 1, "NoiseShare.agents", self.agents, "must be >= 1, and <= FailureConfig.min_agents")
        for name, form in (("budget", PrivacyBudget), ("accountant", Accountant)):
            value = getattr(self, name)
            require(isinstance(value, form), f"NoiseShare.{name}", value, f"must be a {form.__name__}")

    def check_agents(self, count: int, least: int) -> None:
        """Raise ConfigError if it does not go with so many agents, or the budget not with a single round.

        Args:
            count: Agents of the experiment.
            least: Updates that a round needs.
        """
        accepted = f"must be <= FailureConfig.min_agents={least}: a round of fewer has less noise than is counted"
        require(self.agents <= least, "NoiseShare.agents", self.agents, accepted)
        self.budget.check_size(count, "agents")
        cost = self._epsilon(self._after([]))
        accepted = f"one round costs epsilon={cost:.4g}: raise it, or add noise"
        require(cost <= self.budget.epsilon, "NoiseShare.budget", self.budget, accepted)

    def bind(self, spec: ParamSpec) -> Self:
        """The transform itself, if there is nothing beside parameters.

        Raises: ModelError for buffers.
        """
        check_no_buffers("NoiseShare", spec)
        return self

    def init(self, params: Tensor) -> State:
        """Nothing was told."""
        del params
        read_key(self.noise_key, "NoiseShare.noise_key")
        return {_HISTORY: []}

    def tells(self, state: State) -> Mapping[str, float]:
        """What was spent, and whether it was the last time."""
        history = state[_HISTORY]
        last = self._epsilon(self._after(history)) > self.budget.epsilon
        return {PARTY_EPSILON: self._epsilon(history), LAST: float(last)}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Clip, and add noise in float64, so that rounding hides it.

        Raises: BudgetError for a round too many.
        """
        history = self._after(state[_HISTORY])
        if (epsilon := self._epsilon(history)) > self.budget.epsilon:
            raise BudgetError(f"NoiseShare: a round more would spend epsilon={epsilon:.4g} in all, of {self.budget!r}")
        norm = l2_norm(delta)
        clipped = delta if norm <= self.max_norm else delta * (self.max_norm / norm)
        noise = Noise(read_key(self.noise_key, "NoiseShare.noise_key"))
        share = self.noise * self.max_norm / math.sqrt(self.agents)
        drawn = noise.normal(delta.numel(), share, "share", seed, params, clipped)
        return clipped.double().add_(drawn.to(delta.device)).float(), {_HISTORY: history}

    def _after(self, history: History) -> list[list[float]]:
        return spent_more(history, self.noise, 1.0, 1)

    def _epsilon(self, history: History) -> float:
        return self.accountant.composed(history, self.budget.delta)
