"""What an agent does once its data has drifted: it learns in another way, or keeps something; all can be taken back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from raycollab.learners import Learner
from raycollab.own_model import OWN
from raycollab.settings import Settings, require
from raycollab.task import Problem
from raycollab.types import Batch, Round, State, Update


@dataclass(frozen=True)
class Scene:
    """What an action finds when it begins.

    Args:
        problem: The agent's problem; its model holds what the agent uses now.
        round: The round.
        reference: Examples from before the drift.
    """

    problem: Problem
    round: Round
    reference: Batch


@dataclass(frozen=True, kw_only=True)
class Action(Settings, ABC):
    """Stands between an agent and its learner while it is active; without it everything is as before.

    What it remembers is a tree of tensors and plain values. Tensors by name under `raycollab.own_model.OWN` are what
    the agent uses in the place of the common ones: an action that puts any there withholds them.

    Args:
        rounds: Rounds in which the agent takes part, after which it ends; None stays until it is rolled back.

    Attributes:
        withholds: Whether it keeps parts of the exchanged vectors to the agent.
    """

    rounds: int | None = None

    withholds: ClassVar[bool] = False

    def __post_init__(self) -> None:
        name, accepted = f"{type(self).__name__}.rounds", "must be >= 1, or null for as long as it is not rolled back"
        require(self.rounds is None or self.rounds >= 1, name, self.rounds, accepted)

    def check(self, learner: Learner) -> None:
        """Raise ConfigError if this learner cannot be acted on."""
        del learner

    def check_model(self, module: nn.Module) -> None:
        """Raise ModelError if the model has not what it acts on; asked before the run starts."""
        del module

    @abstractmethod
    def begin(self, scene: Scene) -> State:
        """What it remembers from now on.

        Raises: ModelError if what it acts on is there, but not exchanged.
        """

    def learn(
        self, learner: Learner, problem: Problem, params: Tensor, state: State, own: State, round: Round
    ) -> tuple[Update, State, State]:
        """Let the learner work, in its own way.

        Args:
            learner: What works below it.
            problem: The agent's problem.
            params: The common parameters [d].
            state: The learner's.
            own: What the action remembers; stays as it is.
            round: The round.
        Returns: The update, the learner's state, and what the action remembers.
        """
        update, state = learner.update(problem, params, state, round)
        return update, state, own

    @abstractmethod
    def detail(self, own: State) -> str:
        """What is different now, in a few words."""


@dataclass(frozen=True)
class Acting(Learner):
    """A learner under an action; its state is {"own": the action's, "learner": the learner's}."""

    learner: Learner
    action: Action

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Let the action let the learner work."""
        below, own = state["learner"], state["own"]
        update, below, own = self.action.learn(self.learner, problem, params, below, own, round)
        return update, {"own": own, "learner": below}


def own_tensors(memories: list[State]) -> dict[str, Tensor]:
    """What the agent uses in the place of common tensors under all these actions, by name; the newest action wins."""
    found: dict[str, Tensor] = {}
    for memory in memories:
        if isinstance(memory, Mapping):
            found.update(memory.get(OWN) or {})
    return found
