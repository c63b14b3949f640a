"""Synchronous rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.modes.base import Mode
from raycollab.types import Assignment, State


@dataclass(frozen=True)
class Synchronous(Mode):
    """All selected agents start from the newest version, and the round waits for them.

    `FailureConfig.round_timeout_s` is the deadline by the clock: who is late is left out, never below `min_agents`.
    """

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """One assignment for each."""
        del seed
        return [Assignment(name, version) for name in selected], state
