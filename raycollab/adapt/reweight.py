"""Another weight in the common model."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.adapt.action import Action, Scene
from raycollab.learners import Learner
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Reweight(Action):
    """Multiplies the weight of what an agent sends: below 1 it disturbs the others less, 0 leaves it out.

    Args:
        factor: On the weight, >= 0.
    """

    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.factor < math.inf, "Reweight.factor", self.factor, "must be >= 0 and finite")

    def begin(self, scene: Scene) -> State:
        """Nothing to remember."""
        return {}

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner work, and change the weight."""
        update, state = learner.update(problem, params, state, round)
        return replace(update, weight=update.weight * self.factor), state, own

    def detail(self, own: State) -> str:
        """The factor."""
        return f"weight x {self.factor:g}"
