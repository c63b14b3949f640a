"""Asynchronous rounds on a virtual clock: FedBuff, and with a buffer of one update FedAsync."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.modes.base import Mode
from raycollab.modes.clock import Durations, Exponential
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.types import Assignment, State


@dataclass(frozen=True)
class Buffered(Mode):
    """As many agents as a round selects are always at work; the `size` that are ready first make a version.

    They are idle then, and selected agents take their places at the new version; the others work on from the version
    that they began with. An update's staleness is the number of versions that were made meanwhile. Work that gets
    staler than `max_staleness` is thrown away, so an agent that is always that slow never has a part: raise it then.
    The driver keeps, and writes into checkpoints, `max_staleness + 1` versions of the vectors.

    Goes with `FedBuff()`, or with `FedAsync()` and a size of 1. `Mean()` divides by the sum of the discounts: they
    weigh stale updates against fresh ones of the same round, and do nothing to a round of equally stale ones.

    Args:
        size: Updates that make a version.
        max_staleness: Largest staleness of an update, >= 0.
        durations: How long agents take.
        power: An update counts (1 + staleness) ** -power times its weight; 0 discounts nothing.
    Raises: ConfigError if a round selects fewer agents than `size`.
    Source: Nguyen et al., AISTATS 2022, arXiv 2106.06639, Algorithm 1, with its staleness scaling; the polynomial of
        FedAsync, Xie et al., 2019, arXiv 1903.03934, section 5.2. An agent is in a buffer once at most.
    """

    size: int
    max_staleness: int = 10
    durations: Durations = Exponential()  # noqa: RUF009 - frozen
    power: float = 0.5

    def __post_init__(self) -> None:
        require(self.size >= 1, "Buffered.size", self.size, "must be >= 1")
        require(self.max_staleness >= 0, "Buffered.max_staleness", self.max_staleness, "must be >= 0")
        accepted = "must be >= 0 and finite; 0 discounts nothing"
        require(0 <= self.power < math.inf, "Buffered.power", self.power, accepted)

    @property
    def horizon(self) -> int:
        """Every version that work which still counts may have begun with."""
        return self.max_staleness + 1

    @property
    def discounts(self) -> bool:
        """Unless the power is 0."""
        return self.power > 0

    def init(self) -> State:
        """Nobody is at work."""
        return {"clock": 0.0, "working": {}}  # the version it began with and the time it is ready, by agent

    def updates_per_round(self, num_selected: int) -> int:
        """The size of the buffer."""
        accepted = f"a round selects {num_selected} agents, and no more are at work; set it to at most that many"
        require(self.size <= num_selected, "Buffered.size", self.size, accepted)
        return self.size

    def check_agents(self, names: Sequence[str]) -> None:
        """As the durations do."""
        self.durations.check_agents(names)

    def assign(
        self, selected: Sequence[str], state: State, *, version: int, seed: int
    ) -> tuple[list[Assignment], State]:
        """Fill the idle places, then take those who are ready first."""
        clock, working = state["clock"], dict(state["working"])
        working = {name: job for name, job in working.items() if version - job[0] <= self.max_staleness}
        idle = [name for name in selected if name not in working]
        idle.sort(key=lambda name: derive_seed(seed, "place", version, name))
        for name in idle[: max(0, len(selected) - len(working))]:
            working[name] = (version, clock + self.durations.duration(name, version, seed))
        first = sorted(working, key=lambda name: (working[name][1], name))[: self.size]
        jobs = {name: working.pop(name) for name in first}
        work = [
            Assignment(name, began, discount=(1 + version - began) ** -self.power) for name, (began, _) in jobs.items()
        ]
        return work, {"clock": max(ready for _, ready in jobs.values()), "working": working}
