"""One agent after another."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.modes.base import Mode
from raycollab.types import Assignment, State


@dataclass(frozen=True)
class Cyclic(Mode):
    """A round is one agent, which starts from what the one before it made: the selected one whose turn is longest ago.

    With all agents selected they take turns in their order. A cycle is as many rounds as there are agents.

    Source: Chang et al., JAMIA 2018, doi 10.1093/jamia/ocy017: cyclical weight transfer.
    """

    def init(self) -> State:
        """Nobody has had a turn."""
        return {"turns": {}}  # the version of an agent's last turn

    def updates_per_round(self, num_selected: int) -> int:
        """One."""
        del num_selected
        return 1

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """The next one's turn."""
        del seed
        turns = state["turns"]
        following = min(selected, key=lambda name: turns.get(name, -1))
        return [Assignment(following, version)], {"turns": {**turns, following: version}}
