"""From which version the selected agents of a round start, and which of them the round waits for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from raycollab.settings import Settings
from raycollab.types import Assignment, State


class Mode(Settings, ABC):
    """Turns selected agents into assignments: from which version each starts, and at what discount."""

    @property
    def horizon(self) -> int:
        """Committed versions that the driver keeps for agents that started earlier; 1 is only the newest."""
        return 1

    @property
    def over_select(self) -> float:
        """Agents selected beyond what a round needs, as a share of that; the first to answer make the round."""
        return 0.0

    @property
    def discounts(self) -> bool:
        """Whether an assignment may come with another discount than 1."""
        return False

    def init(self) -> State:
        """State before the first round."""
        return {}

    def updates_per_round(self, num_selected: int) -> int:
        """How many updates make a version at least, of this many selected agents.

        Raises: ConfigError if that many are too few for the mode.
        """
        return num_selected

    def check_agents(self, names: Sequence[str]) -> None:
        """Raise ConfigError if it does not fit agents of these names."""
        del names

    @abstractmethod
    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """The work whose results make version `version + 1`."""
