"""Rounds with a deadline on a virtual clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.modes.base import Mode
from raycollab.modes.clock import Durations, Exponential
from raycollab.settings import require
from raycollab.types import Assignment, State


@dataclass(frozen=True)
class SemiSynchronous(Mode):
    """All selected agents start from the newest version; who is ready by the deadline makes the round.

    If fewer than `min_agents` are, the round waits for the next ones. Who is late starts again at the newest version:
    its work is thrown away, here without having been done. This simulates time; the deadline by the real clock is
    `FailureConfig.round_timeout_s`.

    Args:
        deadline: Virtual time that a round takes, unless it must wait, > 0 and finite, in the unit of the durations.
        durations: How long agents take.
        min_agents: Updates that a round never has fewer of.
    Raises: ConfigError if a round selects fewer than `min_agents`.
    Source: Bonawitz et al., MLSys 2019, arXiv 1902.01046, section 2.2: a time window and a minimum; there a round that
        misses its minimum is abandoned.
    """

    deadline: float
    durations: Durations = Exponential()  # noqa: RUF009 - frozen
    min_agents: int = 1

    def __post_init__(self) -> None:
        accepted = "must be > 0 and finite, in the unit of the durations; without a deadline take Synchronous()"
        require(0 < self.deadline < math.inf, "SemiSynchronous.deadline", self.deadline, accepted)
        require(self.min_agents >= 1, "SemiSynchronous.min_agents", self.min_agents, "must be >= 1")

    def init(self) -> State:
        """The clock at zero."""
        return {"clock": 0.0}

    def updates_per_round(self, num_selected: int) -> int:
        """The minimum; how many more are ready by the deadline differs by round."""
        accepted = f"a round selects {num_selected} agents; set it to at most that many"
        require(self.min_agents <= num_selected, "SemiSynchronous.min_agents", self.min_agents, accepted)
        return self.min_agents

    def check_agents(self, names: Sequence[str]) -> None:
        """As the durations do."""
        self.durations.check_agents(names)

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """Those who are ready first, until the deadline has passed and there are enough."""
        ready = {name: self.durations.duration(name, version, seed) for name in selected}
        in_time = [name for name in selected if ready[name] <= self.deadline]
        if len(in_time) < self.min_agents:
            in_time = sorted(selected, key=lambda name: (ready[name], name))[: self.min_agents]
        ends = max(self.deadline, *(ready[name] for name in in_time))
        work = [Assignment(name, version) for name in selected if name in in_time]
        return work, {"clock": state["clock"] + ends}
