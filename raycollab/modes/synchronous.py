"""Synchronous rounds."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.modes.base import Mode
from raycollab.settings import require
from raycollab.types import Assignment, State


@dataclass(frozen=True)
class Synchronous(Mode):
    """All selected agents start from the newest version, and the round waits for them.

    `FailureConfig.round_timeout_s` is the deadline by the clock: who is late is left out, never below `min_agents`.

    Args:
        over_select: Agents selected beyond RunConfig.agents_per_round, as a share of it, >= 0. The round ends as soon
            as agents_per_round have answered, and cuts the others off: which these are depends on the clock, and so
            do the bits.
    Raises: ConfigError if over_select is negative.
    Source: Bonawitz et al., MLSys 2019, arXiv 1902.01046: more devices are selected than a round needs, to make up for
        those that drop out, and stragglers are ignored once enough have reported.
    """

    over_select: float = 0.0

    def __post_init__(self) -> None:
        require(self.over_select >= 0, "Synchronous.over_select", self.over_select, "must be >= 0; 0.3 is 30 % more")

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """One assignment for each."""
        del seed
        return [Assignment(name, version) for name in selected], state
