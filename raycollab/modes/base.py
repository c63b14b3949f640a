"""From which version the selected agents of a round start, and which of them the round waits for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from raycollab.types import Assignment, State


class Mode(ABC):
    """Turns selected agents into assignments: from which version each starts, and at what discount.

    Attributes:
        horizon: Committed versions that the driver keeps for agents that started earlier; 1 is only the newest.
    """

    horizon: int = 1

    def init(self) -> State:
        """State before the first round."""
        return {}

    def updates_per_round(self, num_selected: int) -> int:
        """How many updates make a version, of this many selected agents."""
        return num_selected

    @abstractmethod
    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """The work whose results make version `version + 1`."""
