"""Learning without forgetting: what the model said before the new task is said again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.adapt.tasks import check_rounds, task_of
from raycollab.learners import Learner
from raycollab.learners.fixed import fixed_copy
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.spec import BUFFERS, PARAMS
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class LwF(LearnerWrapper):
    """Adds strength * T^2 KL(teacher || model) on the new task's inputs; the teacher is the model it began from.

    Args:
        learner: Takes the steps.
        at_rounds: The rounds with which the second and later tasks begin, as of `rc.data.Changing`.
        strength: Weight of the term, >= 0.
        temperature: T of both softmaxes, > 0.
    Shapes: memory [d] and [b]. Takes one forward pass more a step.
    Raises: ModelError for a task without logits.
    Source: Li and Hoiem, ECCV 2016, arXiv 1606.09282, equation 3, over all classes: one head. What is private is as it
        is now in the teacher too. The loss that is reported contains the term.
    """

    at_rounds: tuple[int, ...]
    strength: float = 1.0
    temperature: float = 2.0

    remembers: ClassVar[bool] = True  # type: ignore[misc]
    compares_outputs: ClassVar[bool] = True  # type: ignore[misc]
    formula = "loss_i + strength * T^2 KL(softmax(logits_teacher / T) || softmax(logits / T))"

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_rounds", check_rounds("LwF.at_rounds", self.at_rounds))
        require(isinstance(self.learner, Learner), "LwF.learner", self.learner, "must be a Learner, such as SGD")
        require(0 <= self.strength < math.inf, "LwF.strength", self.strength, "must be >= 0 and finite")
        require(0 < self.temperature < math.inf, "LwF.temperature", self.temperature, "must be > 0 and finite")

    def init(self, params: Tensor) -> State:
        """No teacher in the first task."""
        return {"learner": self.learner.init(params), "task": 0, "teacher": None}

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Keep the common model as the teacher where a task begins; learn beside the teacher."""
        task, teacher = task_of(round.index, self.at_rounds), state["teacher"]
        if task > state["task"]:
            teacher = {PARAMS: params.clone(), BUFFERS: round.vectors.get(BUFFERS, params[:0]).clone()}
        taught = problem
        if teacher is not None:
            given = {field.name: getattr(problem, field.name) for field in fields(problem)}
            module = fixed_copy(problem.model, teacher)
            taught = _Taught(**given, teacher=module, strength=self.strength, temperature=self.temperature)
        update, learned = self.learner.update(taught, params, state["learner"], round)
        return update, {"learner": learned, "task": task, "teacher": teacher}

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The learner's."""
        return self.learner.own_model(problem, vectors, state["learner"])


@dataclass(frozen=True)
class _Taught(Problem):
    """A problem with the teacher's term in its loss."""

    teacher: nn.Module
    strength: float
    temperature: float

    def loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            goal = functional.log_softmax(self.task.logits(self.teacher, batch) / self.temperature, 1)
        found = functional.log_softmax(self.task.logits(self.model.module, batch) / self.temperature, 1)
        said = functional.kl_div(found, goal, reduction="batchmean", log_target=True)
        return super().loss(batch) + self.strength * self.temperature**2 * said
