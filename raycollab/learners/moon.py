"""MOON: representations are drawn to the common model's and away from the agent's own last ones."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.learners.base import Learner
from raycollab.learners.fixed import fixed_copy
from raycollab.learners.local import LocalLearner
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class Moon(Learner):
    """Adds mu * -log(e^(sim(z, z_round) / T) / (e^(sim(z, z_round) / T) + e^(sim(z, z_last) / T))) to the loss.

    z are the task's features of the model that learns, z_round those of the round's, z_last those of the model that the
    agent ended with last time, which it remembers; sim is the cosine. The term starts with an agent's second round, and
    the loss that it reports contains it. Takes three forward passes a step.

    Args:
        learner: Takes the steps.
        mu: Weight of the term, >= 0.
        temperature: T, > 0.
    Raises: ModelError for a task without features.
    Source: Li, He and Song, CVPR 2021, arXiv 2103.16257, equation 3. Features are what the task says, for a
        `Classification` the input of its last linear layer, without a projection head in between. Private parameters
        are those of now in all three models.
    """

    learner: LocalLearner
    mu: float = 1.0
    temperature: float = 0.5

    formula = "loss_i + mu * softplus((sim(z, z_last) - sim(z, z_round)) / T)"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        require(local, "Moon.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")
        require(0 <= self.mu < math.inf, "Moon.mu", self.mu, "must be >= 0 and finite; 0 is the learner itself")
        require(0 < self.temperature < math.inf, "Moon.temperature", self.temperature, "must be > 0 and finite")

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends."""
        return self.learner.sends

    def init(self, params: Tensor) -> State:
        """No last model."""
        return {"last": None, "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the learner's steps on the loss with the term; remember where they ended."""
        stepper = self.learner.begin(problem.model, state["learner"])
        here = {PARAMS: params, BUFFERS: round.vectors.get(BUFFERS, params[:0])}
        others = [fixed_copy(problem.model, vectors) for vectors in (here, state["last"])] if state["last"] else []
        given = {field.name: getattr(problem, field.name) for field in fields(problem)}
        contrast = _Contrast(**given, others=tuple(others), mu=self.mu, temperature=self.temperature)
        update = self.learner.train(contrast, params, round, stepper.step)
        last = {PARAMS: params + update.vectors[DELTA], BUFFERS: problem.model.read_buffers()}
        return update, {"last": last, "learner": stepper.state()}


@dataclass(frozen=True)
class _Contrast(Problem):
    """A problem with the model-contrastive term in its loss; `others` are the round's model and the last, or none."""

    others: tuple[nn.Module, ...]
    mu: float
    temperature: float

    def loss(self, batch: Batch) -> Tensor:
        loss, z = self.task.loss_and_features(self.model.module, batch)
        if not self.others:
            return loss
        with torch.no_grad():
            fixed = [self.task.features(module, batch) for module in self.others]
        pull, push = (functional.cosine_similarity(z, other) for other in fixed)
        return loss + self.mu * functional.softplus((push - pull) / self.temperature).mean()
