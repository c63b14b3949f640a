"""How long agents take on a virtual clock: simulated time, in any unit, that nothing waits for."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raycollab.by_name import check_known, check_names
from raycollab.rng import numpy_generator
from raycollab.settings import require


class Durations(ABC):
    """How long each agent takes for a round. A frozen value; the same agent, start and seed take the same time."""

    def check_agents(self, names: Sequence[str]) -> None:
        """Raise ConfigError if it does not fit agents of these names."""
        del names

    @abstractmethod
    def duration(self, agent: str, start: int, seed: int) -> float:
        """Time from when an agent starts to when its update is there, >= 0.

        Args:
            agent: Its name.
            start: The version that it starts from.
            seed: The run's seed.
        """


@dataclass(frozen=True)
class Exponential(Durations):
    """Drawn anew at every start; most are short, few are long.

    Args:
        mean: Mean duration, > 0.
    """

    mean: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.mean < math.inf, "Exponential.mean", self.mean, "must be > 0 and finite")

    def duration(self, agent: str, start: int, seed: int) -> float:
        """Draw from the stream of this agent's start."""
        return float(numpy_generator(seed, "duration", start, agent).exponential(self.mean))


@dataclass(frozen=True)
class LogNormal(Durations):
    """Drawn anew at every start; the logarithm is normal.

    Args:
        median: Median duration, > 0.
        sigma: Standard deviation of the logarithm, >= 0: with 1, one in six takes more than e times the median.
    """

    median: float = 1.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.median < math.inf, "LogNormal.median", self.median, "must be > 0 and finite")
        require(0 <= self.sigma < math.inf, "LogNormal.sigma", self.sigma, "must be >= 0 and finite")

    def duration(self, agent: str, start: int, seed: int) -> float:
        """Draw from the stream of this agent's start."""
        return self.median * math.exp(self.sigma * numpy_generator(seed, "duration", start, agent).standard_normal())


@dataclass(frozen=True)
class PerAgent(Durations):
    """A fixed duration for each agent: some are always slow.

    Args:
        by_agent: Duration by agent's name, each > 0.
        default: Duration of agents that are not named, > 0.
    Raises: ConfigError for durations that are not > 0 and finite, and for a name that is no text; before a run, for a
        name that no agent has.
    """

    by_agent: Mapping[str, float]
    default: float = 1.0

    def __post_init__(self) -> None:
        check_names("PerAgent.by_agent", self.by_agent)
        for name, value in {**{f"by_agent[{name!r}]": v for name, v in self.by_agent.items()},
                            "default": self.default}.items():  # fmt: skip
            require(0 < value < math.inf, f"PerAgent.{name}", value, "must be > 0 and finite")

    def check_agents(self, names: Sequence[str]) -> None:
        """All that are named must be among these."""
        check_known("PerAgent.by_agent", self.by_agent, names)

    def duration(self, agent: str, start: int, seed: int) -> float:
        """The agent's own."""
        del start, seed
        return self.by_agent.get(agent, self.default)
