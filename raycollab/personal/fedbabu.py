"""FedBABU: the body is learned under a head that nobody changes, which each agent tunes afterwards."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.learners import LocalLearner
from raycollab.personal.fine_tune import FineTune
from raycollab.personal.freezing import frozen, head_of, holding
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FedBABU(FineTune):
    """Steps of the body alone, with the head as it was initialised; an agent's own model is tuned from there.

    The head is what is not exchanged, `Exchange(exclude=("head.*",))`, the same for all: so the saved model has the
    very head that the body was learned for.

    Args:
        learner: Takes the steps of the body.
        tune: Takes the steps of the whole model, body and head, from the common one.
    Raises: ModelError if everything is exchanged.
    Source: Oh, Kim and Yun, ICLR 2022, arXiv 2106.06042, Algorithm 1 and section 5.1.
    """

    learner: LocalLearner

    formula = "body -= lr grad, head as initialised;  own model: a few steps of both"

    def __post_init__(self) -> None:
        super().__post_init__()
        local = isinstance(self.learner, LocalLearner)
        require(local, "FedBABU.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the steps of the body."""
        model, head = problem.model, head_of(problem, "FedBABU")
        stepper = self.learner.begin(model, state)
        with frozen(model, head):
            update = self.learner.train(problem, params, round, holding(model, head, stepper.step))
        return update, stepper.state()
