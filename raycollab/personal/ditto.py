"""Ditto: a model of the agent's own, drawn to the common one."""

import math
from dataclasses import dataclass

from torch import Tensor

from raycollab.learners import LocalLearner
from raycollab.own_model import OWN
from raycollab.params import FlatModel
from raycollab.personal.base import PersonalLearner, common_model, starting_at
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Ditto(PersonalLearner):
    """Takes part in the common model, then steps of its own model with mu / 2 * ||v - w_round||^2 added to its loss.

    What is sent is what the learner sends: the common model is as if nobody had one of its own.

    Args:
        learner: Takes the steps from the common model.
        mu: Strength of the pull, the paper's lambda, >= 0; 0 is training alone.
        own: Takes the steps of the own model; None takes the learner.
    Source: Li et al., ICML 2021, arXiv 2012.04221, Algorithm 1. The own model starts as the common one of the agent's
        first round, and its steps are as many as `own` takes in a round. The pull is over the exchanged parameters.
    """

    mu: float = 0.1
    own: LocalLearner | None = None

    formula = "v -= lr (grad_i(v) + mu (v - w_round)), beside the steps of w_i that are sent"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.mu < math.inf, "Ditto.mu", self.mu, "must be >= 0 and finite")
        steps = self.own is None or isinstance(self.own, LocalLearner)
        require(steps, "Ditto.own", self.own, "must be a LocalLearner, or None for the learner")

    @property
    def stepper(self) -> LocalLearner:
        """What takes the steps of the own model."""
        return self.own or self.learner

    def init(self, params: Tensor) -> State:
        """No own model yet."""
        return {**super().init(params), "own learner": self.stepper.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn what is sent, then the own model."""
        model = problem.model
        own = state[OWN] or common_model(model, params, round)
        update, learned = self.learner.update(problem, params, state["learner"], round)
        private = model.private()
        stepper, anchors = self.stepper.begin(model, state["own learner"]), model.split(params)

        def step(model: FlatModel, factor: float) -> None:
            for grad, shared, anchor in zip(model.shared_grads, model.shared, anchors, strict=True):
                grad.add_(shared, alpha=self.mu).sub_(anchor, alpha=self.mu)
            stepper.step(model, factor)

        start, its_round = starting_at(model, own, round)
        self.stepper.train(problem, start, its_round, step)
        after = {OWN: model.whole(), "learner": learned, "own learner": stepper.state()}
        model.load_private(private)
        return update, after
