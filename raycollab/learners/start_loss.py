"""The loss before learning, beside what another learner sends."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from raycollab.learners.base import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.spec import BUFFERS
from raycollab.task import Problem
from raycollab.types import Round, State, Update

START_LOSS = "start_loss"


@dataclass(frozen=True)
class StartLoss(LearnerWrapper):
    """Sends the mean loss over the train split at the round's parameters as "start_loss", then learns.

    The loss is taken in evaluation mode, without gradients: no dropout, BatchNorm by its running statistics, and
    nothing that the learner after it could notice. Costs one more pass forward over the data.

    Args:
        learner: Takes the steps.
        batch_size: Examples that are worked through at once; it decides on speed and memory alone.
    Source: F_k(w^t) of q-FFL, Li et al., ICLR 2020, arXiv 1905.10497, Algorithm 2.
    """

    batch_size: int = 1024

    adds = (START_LOSS,)
    formula = "start_loss = mean over examples of loss_i(w_round)"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "StartLoss.learner", self.learner, "must be a Learner, such as SGD")
        require(self.batch_size >= 1, "StartLoss.batch_size", self.batch_size, "must be >= 1")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the loss, then let the learner work."""
        loss = self._loss(problem, params, round)
        update, state = self.learner.update(problem, params, state, round)
        return replace(update, scalars={**update.scalars, START_LOSS: loss}), state

    def _loss(self, problem: Problem, params: Tensor, round: Round) -> float:
        model = problem.model
        model.load(params, round.vectors.get(BUFFERS))
        was_training = model.module.training
        model.module.eval()
        total, num_examples = torch.zeros((), dtype=torch.float64, device=model.device), 0
        with torch.no_grad():
            for batch in problem.batches(round, batch_size=self.batch_size, epochs=1):
                count = problem.task.count(batch)
                total += problem.loss(batch).double() * count
                num_examples += count
        model.module.train(was_training)
        return total.item() / max(num_examples, 1)
