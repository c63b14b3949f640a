"""How one agent turns a round into an update."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from raycollab.errors import UpdateError
from raycollab.fused import Stacked
from raycollab.task import Problem
from raycollab.types import Round, State, Update


class Learner(ABC):
    """A rule of local learning: a frozen value whose memory is an explicit state.

    Attributes:
        needs: Vectors that it reads from the round beside "params" and "buffers"; the driver starts them at zero and
            adds to each what the aggregate brings under the same name.
        models: Further ones, which the driver starts at the parameters of another initial model each.
        remembers: Whether an agent's next round needs the state of its last one; if not, any host can train it.
        counted: Whether it counts what its updates tell of single examples: nothing else may look at the data then.
        withholds: Whether it may keep parts of the exchanged vectors to itself in some rounds (`Update.withheld`).
        sends: Vectors and scalars that its update carries beside "delta" and "buffers".
        compares_outputs: Whether its loss holds outputs of two models against each other.
        formula: What it computes, in one line of plain text.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[str, ...]] = ()
    sends: ClassVar[tuple[str, ...]] = ()
    remembers: ClassVar[bool] = True
    counted: ClassVar[bool] = False
    withholds: ClassVar[bool] = False
    compares_outputs: ClassVar[bool] = False
    formula: ClassVar[str] = ""

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    def check(self, num_examples: int) -> None:
        """Raise ConfigError if it cannot learn from a shard of so few training examples."""
        del num_examples

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError if it cannot train this model."""
        del module

    @abstractmethod
    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Learn from the agent's data, starting at params [d]; returns the update and the state after it."""

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """A model of the agent's own, which it is evaluated with beside the common one.

        Args:
            problem: Its model holds the agent's private part of now, and may be overwritten.
            vectors: The newest committed ones.
            state: What the learner remembers; stays as it is.
        Returns: Parameters and buffers by name, as `FlatModel.whole`; None if it has no model of its own.
        """
        del problem, vectors, state
        return None


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
