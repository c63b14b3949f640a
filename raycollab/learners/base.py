"""How one agent turns a round into an update."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.fused import Stacked
from raycollab.task import Problem
from raycollab.types import Round, State, Update


class Learner(ABC):
    """A rule of local learning: a frozen value whose memory is an explicit state.

    Attributes:
        needs: Vectors that it reads from the round beside "params" and "buffers"; the driver starts them at zero and
            adds to each what the aggregate brings under the same name.
        remembers: Whether an agent's next round needs the state of its last one; if not, any host can train it.
        sends: Vectors and scalars that its update carries beside "delta" and "buffers".
        formula: What it computes, in one line of plain text.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    sends: ClassVar[tuple[str, ...]] = ()
    remembers: ClassVar[bool] = True
    formula: ClassVar[str] = ""

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    @abstractmethod
    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from the agent's data, starting at params [d]; returns the update and the state after it."""


class JointLearner(Learner):
    """A learner that can take the steps of several agents at once.

    Attributes:
        joint: Whether it can with the settings that it has.
    """

    @property
    @abstractmethod
    def joint(self) -> bool:
        """Whether the settings allow it."""

    @abstractmethod
    def update_together(
        self, problems: Sequence[Problem], stacked: Stacked, params: Tensor, states: Sequence[State], round: Round
    ) -> list[tuple[Update, State] | UpdateError]:
        """What `update` does, for agents of one task that have as many examples each.

        Args:
            problems: One per agent.
            stacked: As many copies of the model.
            params: Where all of them start [d].
            states: One per agent.
            round: The round.
        Returns: Update and state of each, or what is wrong with it; equal to `update` but for rounding.
        """
