"""The diagonal of the Fisher information, beside what another learner sends."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.learners.base import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update

FISHER = "fisher"


@dataclass(frozen=True)
class Fisher(LearnerWrapper):
    """Sends the diagonal of the empirical Fisher matrix where another learner ended, as "fisher"; for `FisherMean`.

    Element j is the mean over single examples of the squared gradient of the loss by w_j, in evaluation mode: examples
    are taken one by one, which BatchNorm could not learn from. Costs a pass forward and backward for each.

    Args:
        learner: Takes the steps.
        num_examples: Examples of the train split that are drawn anew in each round; all of them if it has fewer.
    Source: Matena and Raffel, NeurIPS 2022, arXiv 2111.09832, equation 3, with the labels of the data in the place of
        the expectation over the model's own: the empirical Fisher matrix, for any loss.
    """

    num_examples: int = 256

    adds = (FISHER,)
    formula = "fisher_ij = mean over examples of (d loss_i / d w_j)^2 at w_i"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "Fisher.learner", self.learner, "must be a Learner, such as SGD")
        require(self.num_examples >= 1, "Fisher.num_examples", self.num_examples, "must be >= 1")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Let the learner work, then take the diagonal where that leads."""
        update, state = self.learner.update(problem, params, state, round)
        buffers = round.vectors.get(BUFFERS)
        if buffers is not None and BUFFERS in update.vectors:
            buffers = buffers + update.vectors[BUFFERS]
        problem.model.load(params + update.vectors[DELTA], buffers)
        return update.with_vectors(**{FISHER: fisher_diagonal(problem, round, self.num_examples)}), state


def fisher_diagonal(problem: Problem, round: Round, num_examples: int) -> Tensor:
    """Mean over examples of the squared gradient by each exchanged parameter, where the model stands now [d].

    Args:
        problem: The agent's problem.
        round: Seeds the draw of the examples.
        num_examples: How many; all of the train split if it has fewer.
    """
    model = problem.model
    was_training = model.module.training
    model.module.eval()
    total = torch.zeros(model.spec.num_params, device=model.device)
    totals = model.split(total)
    count = min(num_examples, problem.shard.num_examples("train"))
    for example in problem.batches(round, batch_size=1, epochs=1, steps=count):
        problem.backward(example)
        for sum, grad in zip(totals, model.shared_grads, strict=True):
            sum.addcmul_(grad, grad)
    model.module.train(was_training)
    return total.div_(count)
