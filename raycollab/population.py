"""The parties of an experiment: named one by one, or one data set dealt out among simulated ones."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

from raycollab.agent import Agent
from raycollab.config import Settings, require
from raycollab.data import Partition, Source
from raycollab.errors import ConfigError
from raycollab.learners import Learner


class Population(Settings, ABC):
    """Makes the agents of an experiment."""

    @abstractmethod
    def agents(self) -> list[Agent]:
        """The agents in order, with unique names."""


@dataclass(frozen=True)
class Parties(Population):
    """Agents that are named one by one, each with its own data: the real case.

    Raises: ConfigError if there is none, or two share a name.
    """

    members: tuple[Agent, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        require(bool(self.members), "agents", [], "give at least one agent")
        for member in self.members:
            require(isinstance(member, Agent), "agents", member, "must be Agents, such as Agent('north', SHARD, SGD())")
        twice = [name for name, times in Counter(agent.name for agent in self.members).items() if times > 1]
        if twice:
            raise ConfigError(
                f"agents: {len(self.members)} agents, but the name {twice[0]!r} is used more than once; "
                f"give each its own"
            )

    def agents(self) -> list[Agent]:
        """The agents as given."""
        return list(self.members)


@dataclass(frozen=True)
class Split(Population):
    """One source dealt out among simulated parties.

    Args:
        source: The data of all parties together.
        partition: Who holds what.
        learners: How they learn; party i takes learner i modulo their number.
        name: Name of a party, with {} for its number from 0.
        val_fraction: Share of each shard that is kept for the party's own validation.
    """

    source: Source
    partition: Partition
    learners: tuple[Learner, ...]
    name: str = "party-{}"
    val_fraction: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "learners", tuple(self.learners))
        require(bool(self.learners), "Split.learners", [], "give at least one learner")
        require(self.name.count("{}") == 1, "Split.name", self.name, "must contain {} once, for the party's number")

    def agents(self) -> list[Agent]:
        """One agent per part."""
        return [
            Agent(
                self.name.format(index),
                shard,
                self.learners[index % len(self.learners)],
                val_fraction=self.val_fraction,
            )
            for index, shard in enumerate(self.source.split(self.partition))
        ]
