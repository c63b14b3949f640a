"""Stochastic gradient descent on the flat vector."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.config import require
from raycollab.learners.base import Learner
from raycollab.learners.local import clip_gradients, local_update
from raycollab.params import FlatModel
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class SGD(Learner):
    """SGD with momentum over the agent's own data: FedAvg's local step.

    The update rule is torch.optim.SGD's, on flat buffers: a few operations however many layers there are, and
    without the second that importing torch.optim costs each process.

    Args:
        lr: Learning rate.
        momentum: Factor of the velocity, in [0, 1).
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Nesterov's variant of momentum.
        epochs: Passes over the shard in a round.
        steps: Steps in a round instead of passes, if not None.
        batch_size: Examples of a step.
        max_grad_norm: Clip gradients to this L2 norm, if not None.
        keep_momentum: Carry the velocity over rounds; it is private to the agent.
    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1 (ClientUpdate).
    """

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    max_grad_norm: float | None = None
    keep_momentum: bool = False

    def __post_init__(self) -> None:
        require(self.lr > 0, "SGD.lr", self.lr, "must be > 0")
        require(0 <= self.momentum < 1, "SGD.momentum", self.momentum, "must be in [0, 1)")
        require(self.weight_decay >= 0, "SGD.weight_decay", self.weight_decay, "must be >= 0")
        require(not self.nesterov or self.momentum > 0, "SGD.nesterov", self.nesterov, "needs momentum > 0")
        require(
            not self.keep_momentum or self.momentum > 0, "SGD.keep_momentum", self.keep_momentum, "needs momentum > 0"
        )
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"SGD.{name}", getattr(self, name), "must be >= 1")
        require(
            self.steps is None or self.steps >= 1, "SGD.steps", self.steps, "must be >= 1, or null for whole epochs"
        )
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0, "SGD.max_grad_norm", self.max_grad_norm, "must be > 0"
        )

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's steps."""
        flats = problem.model.flats
        velocities = (
            [v.clone() for v in state["velocity"]]
            if state
            else [torch.zeros_like(f) for f in flats]
            if self.momentum
            else []
        )

        def step(model: FlatModel) -> None:
            self.step(model, velocities)

        update = local_update(
            problem, params, round, step=step, batch_size=self.batch_size, epochs=self.epochs, steps=self.steps
        )
        return update, {"velocity": velocities} if self.keep_momentum else {}

    def step(self, model: FlatModel, velocities: list[Tensor]) -> None:
        """One step in place on the model's flat buffers, given their gradients."""
        if self.max_grad_norm is not None:
            clip_gradients(model, self.max_grad_norm)
        for index, (flat, grad) in enumerate(zip(model.flats, model.grads, strict=True)):
            if self.weight_decay:
                grad.add_(flat, alpha=self.weight_decay)
            if self.momentum:
                velocity = velocities[index].mul_(self.momentum).add_(grad)
                grad = grad.add_(velocity, alpha=self.momentum) if self.nesterov else velocity
            flat.add_(grad, alpha=-self.lr)
