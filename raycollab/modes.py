"""Who works in a round, and from which version of the model: selection and mode."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.rng import numpy_generator
from raycollab.types import Assignment, State


class Selection(ABC):
    """Chooses the agents of a round."""

    @abstractmethod
    def select(self, agents: Sequence[str], count: int, *, round: int, seed: int) -> list[str]:
        """Names of `count` agents, in the order of `agents`."""


@dataclass(frozen=True)
class Uniform(Selection):
    """Every agent with the same probability, without replacement."""

    def select(self, agents: Sequence[str], count: int, *, round: int, seed: int) -> list[str]:
        """Draw from the stream of this round."""
        if count >= len(agents):
            return list(agents)
        drawn = numpy_generator(seed, "selection", round).choice(len(agents), size=count, replace=False)
        return [agents[index] for index in sorted(drawn)]


class Mode(ABC):
    """Turns selected agents into assignments: from which version each starts, and at what discount.

    Attributes:
        horizon: Committed versions that the driver keeps for agents that started earlier; 1 is only the newest.
    """

    horizon: int = 1

    def init(self) -> State:
        """State before the first round."""
        return {}

    @abstractmethod
    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """The work whose results make version `version + 1`."""


@dataclass(frozen=True)
class Synchronous(Mode):
    """All selected agents start from the newest version, and the round waits for them."""

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """One assignment for each."""
        del seed
        return [Assignment(name, version) for name in selected], state
