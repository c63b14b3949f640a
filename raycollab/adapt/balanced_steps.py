"""As many local steps as each agent has time for."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from raycollab.adapt.tuned import check_local, tuned
from raycollab.errors import ConfigError
from raycollab.learners import Learner
from raycollab.learners.wrapper import LearnerWrapper
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class BalancedSteps(LearnerWrapper):
    """Gives each agent a number of steps in proportion to its speed, so that all need about as long for a round.

    Speeds are a part of the experiment, measured before it or known: no clock decides a result. Merge with `FedNova`,
    which does not let an agent count more for taking more steps.

    Args:
        learner: Takes the steps.
        steps: Of an agent of the median speed.
        speeds: Examples a second, by the agent's name; `rc.adapt.measured_speeds(result.agents)` reads them from
            another run.
        least, most: Bounds of the number of steps.
    Raises: ConfigError for an agent without a speed.
    Source: Wang et al., NeurIPS 2020, arXiv 2007.07481, section 3: local steps by computing speed, with FedNova's mean.
    """

    steps: int
    speeds: Mapping[str, float] = field(default_factory=dict)
    least: int = 1
    most: int = 1000

    formula = "steps_i = steps * speed_i / median speed"

    def __post_init__(self) -> None:
        require(isinstance(self.learner, Learner), "BalancedSteps.learner", self.learner, "must be a Learner")
        check_local("BalancedSteps", self.learner)
        good = bool(self.speeds) and all(speed > 0 for speed in self.speeds.values())
        require(good, "BalancedSteps.speeds", self.speeds, "must be examples a second > 0 by agent")
        require(self.least >= 1, "BalancedSteps.least", self.least, "must be >= 1")
        between = f"must be in least={self.least}..most={self.most}"
        require(self.least <= self.steps <= self.most, "BalancedSteps.steps", self.steps, between)

    def steps_of(self, agent: str) -> int:
        """How many steps an agent takes in a round.

        Raises: ConfigError if its speed is not known.
        """
        if agent not in self.speeds:
            known = ", ".join(self.speeds)
            raise ConfigError(f"BalancedSteps.speeds: none for agent {agent!r}; there are: {known}; give it one")
        share = self.speeds[agent] / statistics.median(self.speeds.values())
        return min(max(int(self.steps * share + 0.5), self.least), self.most)

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this agent's steps."""
        return tuned(self.learner, steps=self.steps_of(problem.agent)).update(problem, params, state, round)


def measured_speeds(agents: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Examples a second by agent, from the rows of a run's agents: the median over their rounds.

    Args:
        agents: `Result.agents`, or the rows of agents.parquet.
    """
    found: dict[str, list[float]] = {}
    for row in agents:
        seconds, examples = row.get("seconds"), row.get("examples")
        if isinstance(seconds, float) and isinstance(examples, int) and seconds > 0 and examples > 0:
            found.setdefault(str(row["agent"]), []).append(examples / seconds)
    return {agent: statistics.median(speeds) for agent, speeds in found.items()}
