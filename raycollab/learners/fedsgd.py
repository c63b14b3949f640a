"""FedSGD: agents send a gradient, the driver takes the step."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from raycollab.errors import ModelError
from raycollab.learners.base import Learner
from raycollab.learners.local import REPORTED
from raycollab.learners.sgd import SGD
from raycollab.params import FlatModel
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class FedSGD(Learner):
    """One gradient over the whole shard at the round's parameters, sent as delta = -gradient.

    With `chain(Mean(), ServerOptimizer("SGD", {"lr": lr}))` a round is one step of gradient descent on the data of all
    agents; with steps=1 it is one step of synchronous data-parallel training, of AdamW if that is the driver's
    optimizer. Without a rate on the driver the step is the whole gradient.

    Args:
        batch_size: Examples that are worked through at once; over the whole shard it decides on speed and memory alone.
        steps: Batches of a round instead of the whole shard, drawn anew in each.
        autocast: Compute forward and backward in bfloat16 where torch deems it safe.
    Raises: ModelError for a model with private parameters, which would never learn: no agent takes a step.
    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, section 2 (FedSGD).
    """

    batch_size: int = 256
    steps: int | None = None
    autocast: bool = False

    sends: ClassVar[tuple[str, ...]] = REPORTED
    remembers = False
    formula = "delta_i = -gradient of L_i at w"

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "FedSGD.batch_size", self.batch_size, "must be >= 1")
        good = self.steps is None or self.steps >= 1
        require(good, "FedSGD.steps", self.steps, "must be >= 1, or null for the whole shard")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Add up the gradients of all batches, each times the number of its examples."""
        private = ", ".join(problem.model.private_params)
        if private:
            raise ModelError(
                f"FedSGD takes no step at the agent, so the private parameters {private} would never learn: exchange "
                f"them, or choose a learner that takes steps, such as SGD(steps=1)"
            )
        total = torch.zeros_like(params)
        totals = problem.model.split(total)

        def add(model: FlatModel, factor: float) -> None:
            del factor
            for sum, grad in zip(totals, model.shared_grads, strict=True):
                sum.add_(grad)

        batches = _Summed(batch_size=self.batch_size, steps=self.steps, autocast=self.autocast)
        update = batches.train(problem, params, round, add)
        delta = total.div_(-max(update.scalars["counted"], 1.0))
        scalars = {**update.scalars, "steps": 1.0, "effective_steps": 1.0}
        return replace(update, vectors={**update.vectors, DELTA: delta}, scalars=scalars), state


@dataclass(frozen=True)
class _Summed(SGD):
    """Gradients of the sum over a batch, not of its mean."""

    def gradient(self, problem: Problem, batch: Batch) -> Tensor:
        loss = super().gradient(problem, batch)
        for grad in problem.model.grads:
            grad.mul_(problem.task.count(batch))
        return loss
