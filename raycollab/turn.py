"""An agent's part in a round, as it begins."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.spec import PARAMS
from raycollab.task import Problem
from raycollab.types import Assignment, Round, State


@dataclass(frozen=True)
class Turn:
    """An agent's part in a round, as it begins.

    Args:
        problem: What its learner sees.
        round: The round, with the agent's share of its vectors.
        assignment: What it was asked for.
        state: What it remembers.
        kept: The committed round of which it remembers that; 0 if it remembers nothing.
        started: When, by time.perf_counter.
    """

    problem: Problem
    round: Round
    assignment: Assignment
    state: State
    kept: int
    started: float

    @property
    def params(self) -> Tensor:
        """Where it starts [d]."""
        return self.round.vectors[PARAMS]
