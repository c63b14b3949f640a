"""MOON: representations are drawn to the common model's and away from the agent's own last ones."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from raycollab.config import require
from raycollab.learners.base import Learner
from raycollab.learners.local import LocalLearner
from raycollab.spec import BUFFERS, DELTA, PARAMS, ParamSpec
from raycollab.task import Problem, Task
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
        require(self.mu >= 0, "Moon.mu", self.mu, "must be >= 0; 0 is the learner itself")
        require(self.temperature > 0, "Moon.temperature", self.temperature, "must be > 0")

    def init(self, params: Tensor) -> State:
        """No last model."""
        return {"last": None, "learner": self.learner.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the learner's steps on the loss with the term; remember where they ended."""
        stepper = self.learner.begin(problem.model, state["learner"])
        here = {PARAMS: params, BUFFERS: round.vectors.get(BUFFERS, params[:0])}
        given = {field.name: getattr(problem, field.name) for field in fields(problem)}
        contrast = _Contrast(**given, here=here, last=state["last"], mu=self.mu, temperature=self.temperature)
        update = self.learner.train(contrast, params, round, stepper.step)
        last = {PARAMS: params + update.vectors[DELTA], BUFFERS: problem.model.read_buffers()}
        return update, {"last": last, "learner": stepper.state()}


@dataclass(frozen=True)
class _Contrast(Problem):
    """A problem with the model-contrastive term in its loss; `here` and `last` are the vectors of two fixed models."""

    here: Mapping[str, Tensor]
    last: Mapping[str, Tensor] | None
    mu: float
    temperature: float

    def loss(self, batch: Batch) -> Tensor:
        loss, z = self.task.loss_and_features(self.model.module, batch)
        if self.last is None:
            return loss
        pull, push = (functional.cosine_similarity(z, self._features(batch, of)) for of in (self.here, self.last))
        return loss + self.mu * functional.softplus((push - pull) / self.temperature).mean()

    def _features(self, batch: Batch, vectors: Mapping[str, Tensor]) -> Tensor:
        """Features under a fixed model's vectors, in evaluation mode; the model that learns stays as it is."""
        named = {f"module.{name}": tensor for name, tensor in _named(self.model.spec, vectors).items()}
        module = self.model.module
        was_training = module.training
        module.eval()
        with torch.no_grad():
            features = functional_call(_Features(self.task, module), named, (batch,))
        module.train(was_training)
        return features


class _Features(nn.Module):
    """A task's features as a module, whose parameters functional_call can replace."""

    def __init__(self, task: Task, module: nn.Module):
        super().__init__()
        self.task = task
        self.module = module

    def forward(self, batch: Batch) -> Tensor:
        return self.task.features(self.module, batch)


def _named(spec: ParamSpec, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers by name, as views of a model's vectors where its dtype is theirs."""
    places = [(entry, vectors[PARAMS]) for entry in spec.params] + [(entry, vectors[BUFFERS]) for entry in spec.buffers]
    return {
        entry.name: vector[entry.offset : entry.stop].view(entry.shape).to(getattr(torch, entry.dtype))
        for entry, vector in places
    }
