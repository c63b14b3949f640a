"""Stochastic gradient descent on the flat vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.fused import Descent, Stacked
from raycollab.learners.base import JointLearner
from raycollab.learners.joint import train_together
from raycollab.learners.local import LocalLearner, Stepper
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class SGD(LocalLearner, JointLearner):
    """SGD with momentum over the agent's own data: FedAvg's local step.

    The update rule is torch.optim.SGD's, on flat buffers: a few operations however many layers there are, and
    without the second that the first optimizer of torch costs each process, which imports torch._dynamo. epochs,
    steps, batch_size, micro_batch_size, max_grad_norm, schedule and autocast are LocalLearner's.

    Args:
        lr: Learning rate.
        momentum: Factor of the velocity, in [0, 1).
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Nesterov's variant of momentum.
        keep_momentum: Carry the velocity over rounds; it is private to the agent.
    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1 (ClientUpdate).
    """

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    keep_momentum: bool = False

    formula = "v = momentum v + grad + weight_decay w;  w -= lr v, with nesterov lr (grad + momentum v)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0, "SGD.lr", self.lr, "must be > 0")
        require(0 <= self.momentum < 1, "SGD.momentum", self.momentum, "must be in [0, 1)")
        require(self.weight_decay >= 0, "SGD.weight_decay", self.weight_decay, "must be >= 0")
        require(not self.nesterov or self.momentum > 0, "SGD.nesterov", self.nesterov, "needs momentum > 0")
        require(
            not self.keep_momentum or self.momentum > 0, "SGD.keep_momentum", self.keep_momentum, "needs momentum > 0"
        )

    def begin(self, model: FlatModel, state: State) -> Stepper:
        """Start with the velocity that was kept, or with none."""
        velocities = [velocity.clone() for velocity in state["velocity"]] if state else []
        if self.momentum and not velocities:
            velocities = [torch.zeros_like(flat) for flat in model.flats]

        def step(model: FlatModel, factor: float) -> None:
            self.step(model, velocities, factor)

        return Stepper(step, lambda: {"velocity": velocities} if self.keep_momentum else {})

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the velocity is kept, or a subclass may keep something."""
        return self.keep_momentum or type(self) is not SGD

    @property
    def joint(self) -> bool:
        """Where a step needs nothing but each layer's own gradient, in float32."""
        needs_all = self.nesterov or self.autocast or self.micro_batch_size or self.max_grad_norm
        return type(self) is SGD and not needs_all

    def update_together(
        self, problems: Sequence[Problem], stacked: Stacked, params: Tensor, states: Sequence[State], round: Round
    ) -> list[tuple[Update, State] | UpdateError]:
        """Take this round's steps for all of them."""
        kept = [state["velocity"][0] if state else None for state in states]
        velocities = stacked.like_params(kept) if self.momentum else []

        def descent(factor: float) -> Descent:
            return Descent(stacked.params, self.lr * factor, self.weight_decay, self.momentum, velocities)

        def state(index: int) -> State:
            return {"velocity": [stacked.vector(velocities, index)]} if self.keep_momentum else {}

        outcomes = train_together(self, problems, stacked, params, round, descent)
        return [
            outcome if isinstance(outcome, UpdateError) else (outcome, state(index))
            for index, outcome in enumerate(outcomes)
        ]

    def effective_steps(self, factors: Sequence[float], pull: float = 0.0) -> float:
        """With momentum a gradient counts in all steps after it: Wang et al., arXiv 2007.07481, section 4.1.

        Exact under any schedule. Weight decay is a part of the gradient, and what a kept velocity brings from earlier
        rounds does not count.

        Args:
            factors: The schedule's factor in each step.
            pull: lr * mu of a proximal term, which takes this share of what has been moved in every later step.
        """
        total, by_params, by_velocity = 0.0, 1.0, 0.0  # how far the end moves with either of them before a step
        for factor in reversed(factors):
            move = factor * by_params
            by_velocity += move * (self.momentum if self.nesterov else 1.0)
            by_gradient = by_velocity + (move if self.nesterov else 0.0)
            total += abs(by_gradient)
            by_params -= pull * by_gradient
            by_velocity *= self.momentum
        return total

    def step(self, model: FlatModel, velocities: list[Tensor], factor: float = 1.0) -> None:
        """One step in place on the model's flat buffers, given their gradients and a factor on lr."""
        for index, (flat, grad) in enumerate(zip(model.flats, model.grads, strict=True)):
            if self.weight_decay:
                grad.add_(flat, alpha=self.weight_decay)
            if self.momentum:
                velocity = velocities[index].mul_(self.momentum).add_(grad)
                grad = grad.add_(velocity, alpha=self.momentum) if self.nesterov else velocity
            flat.add_(grad, alpha=-self.lr * factor)
