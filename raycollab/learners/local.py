"""The loop that gradient learners share: load, steps, difference."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.config import require
from raycollab.errors import UpdateError
from raycollab.learners.base import Learner
from raycollab.params import FlatModel
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update

Step = Callable[[FlatModel], None]  # changes the parameters in place, given their gradients


@dataclass(frozen=True)
class Stepper:
    """An optimizer at work in one round.

    Args:
        step: Takes one step.
        state: What the agent remembers after the last one.
    """

    step: Step
    state: Callable[[], State]


@dataclass(frozen=True, kw_only=True)
class LocalLearner(Learner):
    """Learns by local steps; other learners wrap one and change its gradients.

    Args:
        epochs: Passes over the shard in a round.
        steps: Steps in a round instead of passes, if not None.
        batch_size: Examples of a step.
        max_grad_norm: Clip gradients to this L2 norm before each step, if not None.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"{kind}.{name}", getattr(self, name), "must be >= 1")
        require(
            self.steps is None or self.steps >= 1, f"{kind}.steps", self.steps, "must be >= 1, or null for whole epochs"
        )
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            f"{kind}.max_grad_norm",
            self.max_grad_norm,
            "must be > 0",
        )

    @abstractmethod
    def begin(self, model: FlatModel, state: State) -> Stepper:
        """Set the optimizer up for a round, with what the agent remembers; `state` stays as it is."""

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's steps."""
        stepper = self.begin(problem.model, state)
        update = self.train(problem, params, round, stepper.step)
        return update, stepper.state()

    def train(self, problem: Problem, params: Tensor, round: Round, step: Step) -> Update:
        """Take local steps from params [d] and return the difference.

        Args:
            problem: The agent's problem.
            params: Where to start [d].
            round: Gives the buffers and the seeds of the batches.
            step: Takes one step.
        Returns: delta [d], buffers [b]; scalars loss (mean over the examples seen), steps, examples.
        Raises: UpdateError if the loss is not finite.
        """
        model = problem.model
        buffers = round.vectors.get(BUFFERS)
        model.load(params, buffers)
        start = model.read() if model.lossy else params
        model.module.train()
        total_loss = torch.zeros((), device=model.device)
        num_examples = num_steps = 0
        for batch in problem.batches(round, batch_size=self.batch_size, epochs=self.epochs, steps=self.steps):
            loss = problem.backward(batch)
            if self.max_grad_norm is not None:
                clip_gradients(model, self.max_grad_norm)
            step(model)
            count = problem.task.count(batch)
            total_loss += loss * count
            num_examples += count
            num_steps += 1
        mean_loss = total_loss.item() / max(num_examples, 1)
        if not math.isfinite(mean_loss):
            raise UpdateError(
                f"agent {problem.agent!r}: the loss is {mean_loss} in round {round.index}; "
                f"lower lr or clip gradients (max_grad_norm)"
            )
        vectors = {DELTA: model.read().sub_(start)}
        if buffers is not None and buffers.numel():
            vectors[BUFFERS] = model.read_buffers().sub_(buffers)
        scalars = {"loss": mean_loss, "steps": float(num_steps), "examples": float(num_examples)}
        weight = float(problem.shard.num_examples("train"))
        return Update(problem.agent, weight, vectors, scalars, round.base_version)


def clip_gradients(model: FlatModel, max_norm: float) -> None:
    """Scale all gradients so that their common L2 norm is at most max_norm."""
    norm = torch.stack([grad.float().norm() for grad in model.grads]).norm()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in model.grads:
        grad.mul_(scale)
