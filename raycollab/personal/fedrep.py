"""FedRep: a common representation, and heads that are learned first."""

from dataclasses import dataclass, replace

from torch import Tensor

from raycollab.learners import LocalLearner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.personal.freezing import body_of, frozen, head_of, holding
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FedRep(LearnerWrapper):
    """Steps of the head with the body as it came, then steps of the body with the head as it is now.

    The head is what is not exchanged: `Exchange(exclude=("head.*",))`.

    Args:
        learner: Takes the steps of the body.
        head: Takes those of the head; None takes the learner.
    Raises: ModelError if everything is exchanged.
    Source: Collins et al., ICML 2021, arXiv 2102.07078, Algorithm 1. The body may take any number of steps, as in the
        paper's experiments.
    """

    learner: LocalLearner
    head: LocalLearner | None = None

    formula = "head -= lr grad, body fixed;  then body -= lr grad, head fixed;  the body is sent"

    def __post_init__(self) -> None:
        local = isinstance(self.learner, LocalLearner)
        require(local, "FedRep.learner", self.learner, "must be a LocalLearner, such as SGD or Optimizer")
        steps = self.head is None or isinstance(self.head, LocalLearner)
        require(steps, "FedRep.head", self.head, "must be a LocalLearner, or None for the learner")

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether one of the learners does."""
        return self.learner.remembers or self.of_head.remembers

    @property
    def of_head(self) -> LocalLearner:
        """What takes the head's steps."""
        return self.head or self.learner

    def init(self, params: Tensor) -> State:
        """Those of both learners."""
        return {"learner": self.learner.init(params), "head": self.of_head.init(params)}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take the steps of the head, then those of the body."""
        model, head = problem.model, head_of(problem, "FedRep")
        body = body_of(model)
        model.load(params)  # what the steps of the head put back
        of_head = self.of_head.begin(model, state["head"])
        with frozen(model, body):
            first = self.of_head.train(problem, params, round, holding(model, body, of_head.step))
        kept = of_head.state()
        stepper = self.learner.begin(model, state["learner"])
        with frozen(model, head):
            update = self.learner.train(problem, params, round, holding(model, head, stepper.step))
        counted = first.scalars["counted"] + update.scalars["counted"]
        update = replace(update, scalars={**update.scalars, "counted": counted})
        return update, {"learner": stepper.state(), "head": kept}
