"""A larger learning rate for a while."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from raycollab.adapt.action import Action, Scene
from raycollab.adapt.tuned import check_local, tuned
from raycollab.learners import Learner
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class RaiseRate(Action):
    """Multiplies the learning rate of an agent for some rounds: it leaves sooner what it has learned before.

    Args:
        factor: On the rate, > 0.
    Source: Canonaco et al., IJCNN 2021 (Adaptive-FedAvg), whose rate follows the variance of the updates; here an alarm
        raises it.
    """

    factor: float = 3.0
    rounds: int | None = field(default=5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.factor < math.inf, "RaiseRate.factor", self.factor, "must be > 0 and finite")

    def check(self, learner: Learner) -> None:
        """Raise ConfigError for a learner that has no rate."""
        check_local("RaiseRate", learner)

    def begin(self, scene: Scene) -> State:
        """Nothing to remember."""
        return {}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner work at its other rate."""
        update, state = tuned(learner, rate=self.factor).update(problem, params, state, round)
        return update, state, own

    def detail(self, own: State) -> str:
        """The factor."""
        return f"learning rate x {self.factor:g}"
