"""How one agent turns a round into an update."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from raycollab.task import Problem
from raycollab.types import Round, State, Update


class Learner(ABC):
    """A rule of local learning: a frozen value whose memory is an explicit state.

    Attributes:
        needs: Vectors that it reads from the round beside "params" and "buffers"; the driver starts them at zero and
            adds to each what the aggregate brings under the same name.
        sends: Vectors and scalars that its update carries beside "delta" and "buffers".
        formula: What it computes, in one line of plain text.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    sends: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    @abstractmethod
    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from the agent's data, starting at params [d]; returns the update and the state after it."""
