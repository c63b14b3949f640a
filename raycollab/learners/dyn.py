"""FedDyn, the agents' side: a linear and a quadratic term that make local minima agree with the common one."""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from raycollab.learners.base import Learner
from raycollab.learners.local import LocalLearner
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update

ALPHA = "alpha"


@dataclass(frozen=True)
class Dyn(Learner):
    """Adds -<h_i, w> + alpha / 2 * ||w - w_round||^2 to the loss of another learner; merge with `FedDyn`.

    The agent remembers h_i, the gradient of its own loss where it last ended, and nobody else learns it. A learner that
    stops short of its local minimum is fine: h_i then follows the steps.

    Args:
        learner: Takes the steps.
        alpha: Strength of the pull, > 0.
    Source: Acar et al., ICLR 2021, arXiv 2111.04263, Algorithm 1 (devices), with the minimum sought by the learner's
        steps. Both terms are exact in the gradient, unclipped, and over the exchanged parameters only.
    """

    learner: LocalLearner
    alpha: float

    formula = "gradient_i + alpha * (w - w_round) - h_i;  h_i -= alpha * (w_i - w_round)"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        require(local, "Dyn.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")
        require(0 < self.alpha < math.inf, "Dyn.alpha", self.alpha, "must be > 0 and finite")

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends, and alpha: `FedDyn` is for one that is common to all."""
        return (*self.learner.sends, ALPHA)

    def init(self, params: Tensor) -> State:
        """A local gradient of zero."""
        return {"gradient": torch.zeros_like(params), "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the learner's steps with both terms in their gradients, then move h_i."""
        stepper = self.learner.begin(problem.model, state["learner"])
        gradient = cast(Tensor, state["gradient"])
        anchors, own = problem.model.split(params), problem.model.split(gradient)

        def step(model: FlatModel, factor: float) -> None:
            for grad, shared, anchor, part in zip(model.shared_grads, model.shared, anchors, own, strict=True):
                grad.add_(shared, alpha=self.alpha).sub_(anchor, alpha=self.alpha).sub_(part)
            stepper.step(model, factor)

        update = self.learner.train(problem, params, round, step)
        after = gradient - self.alpha * update.vectors[DELTA]
        scalars = {**update.scalars, ALPHA: float(self.alpha)}
        return replace(update, scalars=scalars), {"gradient": after, "learner": stepper.state()}
