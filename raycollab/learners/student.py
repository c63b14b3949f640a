"""FedDF's student: the model that learns only from what the others say."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from raycollab.data import Source
from raycollab.errors import ModelError
from raycollab.learners.base import Learner
from raycollab.learners.local import REPORTED
from raycollab.learners.public import consensus_place, soft_problem
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class Student(Learner):
    """Learns the consensus of agents with `Distill`, and sends its parameters: the driver's model is its model.

    It belongs to one agent more, which has the experiment's own task and of whose data only the validation part is
    looked at. Of its vectors only the delta travels: it has no say in the consensus. It learns what the agents said
    last round, and so does nothing in the first.

    Args:
        learner: Learns from the consensus; one that needs nothing of the round, such as SGD.
        public: The public set, the same for all.
        temperature: T of both softmaxes, > 0.
    Shapes: delta [d].
    Raises: ModelError for a model without a consensus, or with other exchanged buffers such as BatchNorm's statistics,
        which could not travel without a say in the consensus; DataError for a public set that is too small.
    Source: Lin et al., FedDF, NeurIPS 2020, arXiv 2006.07242, Algorithm 1 and equation 2, with one student that begins
        where it ended, in the place of one per kind of net that begins at the mean of its agents.
    """

    learner: Learner
    public: Source
    temperature: float = 1.0

    compares_outputs: ClassVar[bool] = True
    formula = "T^2 KL(softmax(consensus_x / T) || softmax(logits(x) / T))"

    def __post_init__(self) -> None:
        accepted = "must be a Learner, such as SGD, that needs nothing of the round: only its delta is sent"
        require(isinstance(self.learner, Learner) and not self.learner.needs, "Student.learner", self.learner, accepted)
        require(0 < self.temperature < math.inf, "Student.temperature", self.temperature, "must be > 0 and finite")

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What learners report, if this one does; in the first round it is zero."""
        return tuple(name for name in self.learner.sends if name in REPORTED)

    def init(self, params: Tensor) -> State:
        """That of the learner."""
        return self.learner.init(params)

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn the round's consensus, if there is one."""
        place, spec = consensus_place(problem), problem.model.spec
        if len(spec.buffers) > 1:
            others = [entry.name for entry in spec.buffers if entry is not place]
            raise ModelError(
                f"agent {problem.agent!r}: a Student's net cannot exchange buffers, this one has {others}; "
                f"take a net without BatchNorm"
            )
        if round.base_version == 0:
            still = {DELTA: torch.zeros_like(params)}
            return Update(problem.agent, 1.0, still, dict.fromkeys(REPORTED, 0.0), round.base_version), state
        soft = soft_problem(problem, self.public, round, self.temperature)
        update, state = self.learner.update(soft, params, state, round)
        return replace(update, vectors={DELTA: update.vectors[DELTA]}), state
