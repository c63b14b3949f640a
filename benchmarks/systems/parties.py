"""A workload's agents as raycollab's own values, so that hosts make the data that they need."""

from dataclasses import dataclass
from typing import ClassVar

import raycollab as rc
from benchmarks.workloads import examples, held_out
from benchmarks.workloads.outcome import chosen
from raycollab.data import Columns
from raycollab.population import Population

TEST = -1  # in place of an agent's number


@dataclass(frozen=True)
class Generated(rc.Source):
    """One agent's examples, made where they are read; those of the test set for agent -1."""

    workload: str
    agent: int
    tiny: bool = False

    def read(self) -> Columns:
        """Make the rows."""
        workload = chosen(self.workload, self.tiny, None, None)
        return held_out(workload) if self.agent == TEST else examples(workload, self.agent)

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.workload}, " + ("test set" if self.agent == TEST else f"agent {self.agent}")


@dataclass(frozen=True)
class Simulated(Population):
    """The agents of a workload."""

    workload: str
    num_agents: int
    learner: rc.Learner
    tiny: bool = False

    simulated: ClassVar[bool] = True

    def agents(self) -> list[rc.Agent]:
        """One agent for each number."""
        return [
            rc.Agent(f"agent-{number}", Generated(self.workload, number, self.tiny), self.learner, val_fraction=0.0)
            for number in range(self.num_agents)
        ]
