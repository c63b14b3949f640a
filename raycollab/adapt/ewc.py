"""EWC: what mattered to earlier tasks moves less."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from raycollab.adapt.tasks import check_rounds, task_of
from raycollab.learners import Learner
from raycollab.learners.fisher import fisher_diagonal
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.spec import BUFFERS, DELTA
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class EWC(LearnerWrapper):
    """Adds strength / 2 * sum_j F_j (w_j - a_j)^2 to the loss, once a task is over.

    F is the agent's diagonal Fisher information at the end of its last round of each task, summed over tasks; a are the
    common parameters with which the newest task began. Both stay with the agent.

    Args:
        learner: Takes the steps.
        strength: Of the pull, >= 0.
        at_rounds: The rounds with which the second and later tasks begin, as of `rc.data.Changing`.
        num_examples: Examples of which the Fisher information is taken, one by one, after every round but the last
            task's: an agent need not know which of a task's rounds is its last.
        decay: Factor on the information of earlier tasks at each new one, in [0, 1].
    Shapes: memory 3 [d].
    Source: Kirkpatrick et al., PNAS 2017, arXiv 1612.00796, equation 3; one anchor for all tasks and the decay as in
        Schwarz et al., ICML 2018, arXiv 1805.06370, section 3.2 (online EWC). The loss that is reported is without it.
    """

    strength: float
    at_rounds: tuple[int, ...]
    num_examples: int = 64
    decay: float = 1.0

    remembers: ClassVar[bool] = True  # type: ignore[misc]
    formula = "grad += strength * F (w - a)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_rounds", check_rounds("EWC.at_rounds", self.at_rounds))
        require(isinstance(self.learner, Learner), "EWC.learner", self.learner, "must be a Learner, such as SGD")
        require(0 <= self.strength < math.inf, "EWC.strength", self.strength, "must be >= 0 and finite")
        require(self.num_examples >= 1, "EWC.num_examples", self.num_examples, "must be >= 1")
        require(0 <= self.decay <= 1, "EWC.decay", self.decay, "must be in [0, 1]")

    def init(self, params: Tensor) -> State:
        """No task is over."""
        return {"learner": self.learner.init(params), "task": 0, "fisher": None, "anchor": None, "newest": None}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take up what a task that is over leaves, learn, and see what matters now."""
        task = task_of(round.index, self.at_rounds)
        fisher, anchor, newest = state["fisher"], state["anchor"], state["newest"]
        if task > state["task"] and newest is not None:
            fisher = newest if fisher is None else self.decay * fisher + newest
            anchor = params.clone()
        held = problem
        if fisher is not None:
            given = {field.name: getattr(problem, field.name) for field in fields(problem)}
            held = _Anchored(**given, fisher=fisher, anchor=anchor, strength=self.strength)
        update, learned = self.learner.update(held, params, state["learner"], round)
        if task < len(self.at_rounds):
            buffers = round.vectors.get(BUFFERS)
            if buffers is not None and BUFFERS in update.vectors:
                buffers = buffers + update.vectors[BUFFERS]
            problem.model.load(params + update.vectors[DELTA], buffers)
            newest = fisher_diagonal(problem, round, self.num_examples)
        return update, {"learner": learned, "task": task, "fisher": fisher, "anchor": anchor, "newest": newest}

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The learner's."""
        return self.learner.own_model(problem, vectors, state["learner"])


@dataclass(frozen=True)
class _Anchored(Problem):
    """A problem with the pull in its gradients."""

    fisher: Tensor
    anchor: Tensor
    strength: float

    def backward(self, batch: Batch, *, micro_batch_size: int | None = None, autocast: bool = False) -> Tensor:
        loss = super().backward(batch, micro_batch_size=micro_batch_size, autocast=autocast)
        model = self.model
        parts = zip(model.shared_grads, model.shared, model.split(self.fisher), model.split(self.anchor), strict=True)
        for grad, shared, fisher, anchor in parts:
            grad.addcmul_(fisher.to(grad.dtype), shared - anchor.to(grad.dtype), value=self.strength)
        return loss
