"""FedProx: a pull back to where the round began."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.learners.local import LocalLearner
from raycollab.learners.sgd import SGD
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Prox(LearnerWrapper):
    """Adds mu / 2 * ||w - w_round||^2 over the exchanged parameters to the loss of another learner.

    Args:
        learner: Takes the steps.
        mu: Strength of the pull, >= 0; 0 is the learner itself.
    Source: Li et al., MLSys 2020, arXiv 1812.06127, equation 2; the pull is exact in the gradient, unclipped.
    """

    learner: LocalLearner
    mu: float

    formula = "grad += mu (w - w_round)"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        require(local, "Prox.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")
        require(0 <= self.mu < math.inf, "Prox.mu", self.mu, "must be >= 0 and finite")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the learner's steps, each with mu * (w - w_round) added to its gradient."""
        stepper = self.learner.begin(problem.model, state)
        anchors, factors = problem.model.split(params), list[float]()

        def step(model: FlatModel, factor: float) -> None:
            for grad, shared, anchor in zip(model.shared_grads, model.shared, anchors, strict=True):
                grad.add_(shared, alpha=self.mu).sub_(anchor, alpha=self.mu)
            factors.append(factor)
            stepper.step(model, factor)

        update = self.learner.train(problem, params, round, step)
        if isinstance(self.learner, SGD):  # the pull shrinks what earlier steps moved: arXiv 2007.07481, section 4.1
            effective_steps = self.learner.effective_steps(factors, pull=self.learner.lr * self.mu)
            update = replace(update, scalars={**update.scalars, "effective_steps": effective_steps})
        return update, stepper.state()
