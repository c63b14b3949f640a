"""pFedMe: the common model moves to the agents' own, each of which stays near it."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.own_model import OWN
from raycollab.params import FlatModel
from raycollab.personal.base import PersonalLearner
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class PFedMe(PersonalLearner):
    """Learns a Moreau envelope of its loss: theta is the own model near w, and w follows theta.

    Args:
        learner: Takes the steps of theta on f_i(theta) + mu / 2 * ||theta - w||^2.
        mu: The paper's lambda, > 0.
        inner_steps: Steps of theta before each step of w, K in the paper.
        lr: Rate of w, eta in the paper: w -= lr * mu * (w - theta). lr * mu must be at most 1.
    Source: Dinh et al., NeurIPS 2020, arXiv 2006.08848, Algorithm 1. Each of the K steps takes the next batch, where
        the paper takes one batch for all K. Theta starts each round at w. The server's beta is a `Scale` right of the
        rule.
    """

    mu: float = 15.0
    inner_steps: int = 5
    lr: float = 0.05

    formula = "theta ~ argmin f_i(theta) + mu / 2 ||theta - w||^2;  w -= lr mu (w - theta)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.mu < math.inf, "PFedMe.mu", self.mu, "must be > 0 and finite")
        require(self.inner_steps >= 1, "PFedMe.inner_steps", self.inner_steps, "must be >= 1")
        good = 0 < self.lr * self.mu <= 1
        require(good, "PFedMe.lr", self.lr, f"must be in (0, 1 / mu], with mu={self.mu}: beyond, w overshoots theta")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the steps of theta, each few of them followed by one of w; send how far w has moved."""
        model = problem.model
        stepper, common, taken = self.learner.begin(model, state["learner"]), params.clone(), 0
        anchors = model.split(common)

        def follow() -> None:
            for anchor, shared in zip(anchors, model.shared, strict=True):
                anchor.lerp_(shared.float(), self.lr * self.mu)

        def step(model: FlatModel, factor: float) -> None:
            nonlocal taken
            for grad, shared, anchor in zip(model.shared_grads, model.shared, anchors, strict=True):
                grad.add_(shared, alpha=self.mu).sub_(anchor, alpha=self.mu)
            stepper.step(model, factor)
            taken += 1
            if taken % self.inner_steps == 0:
                follow()

        update = self.learner.train(problem, params, round, step)
        if taken % self.inner_steps:
            follow()
        update = replace(update, vectors={**update.vectors, DELTA: common - params})
        return update, {OWN: model.whole(), "learner": stepper.state()}
