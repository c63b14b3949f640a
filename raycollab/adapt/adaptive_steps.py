"""Fewer local steps where they lead away from the common model, more where they do not."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.tuned import check_local, tuned
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class AdaptiveSteps(LearnerWrapper):
    """Chooses an agent's number of steps by how far it ended from where the common model went.

    With e where the agent ended and w, w' the common model before and after, the drift is |e - w'| / |e - w|: 0 if all
    went where it went, 1 if nobody did, above 1 if they went elsewhere. Above `target` the next round has fewer steps,
    below half of it more. Merge with `FedNova`, which does not let an agent count more for taking more steps.

    Args:
        learner: Takes the steps.
        steps: In the first round.
        target: Drift that is accepted, > 0.
        least, most: Bounds of the number of steps.
        by: Factor on it, > 1.
    Shapes: memory 2 [d].
    Source: our own rule, in the spirit of Wang et al., IEEE JSAC 2019, arXiv 1804.05271, which chooses the number of
        steps by the measured divergence of gradients.
    """

    steps: int = 10
    target: float = 1.0
    least: int = 1
    most: int = 100
    by: float = 1.5

    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "steps_i /= by if |e_i - w'| > target |e_i - w|, *= by if it is less than half of that"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "AdaptiveSteps.learner", self.learner, "must be a Learner")
        check_local("AdaptiveSteps", self.learner)
        require(self.target > 0, "AdaptiveSteps.target", self.target, "must be > 0")
        require(self.by > 1, "AdaptiveSteps.by", self.by, "must be > 1")
        require(self.least >= 1, "AdaptiveSteps.least", self.least, "must be >= 1")
        between = f"must be in least={self.least}..most={self.most}"
        require(self.least <= self.steps <= self.most, "AdaptiveSteps.steps", self.steps, between)

    def init(self, params: Tensor) -> State:
        """The number as it is given."""
        return {"learner": self.learner.init(params), "steps": float(self.steps), "start": None, "moved": None}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Choose the number of steps, take them, and remember where they led."""
        steps = state["steps"]
        if state["start"] is not None and (length := float(state["moved"].norm())) > 0:
            drift = float((state["start"] + state["moved"] - params).norm()) / length
            steps = steps / self.by if drift > self.target else steps * self.by if drift < self.target / 2 else steps
            steps = min(max(steps, float(self.least)), float(self.most))
        learner = tuned(self.learner, steps=int(steps + 0.5))
        update, learned = learner.update(problem, params, state["learner"], round)
        return update, {"learner": learned, "steps": steps, "start": params.clone(), "moved": update.vectors[DELTA]}
