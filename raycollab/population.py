"""The parties of an experiment: named one by one, or one data set dealt out among simulated ones."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from raycollab.agent import Agent
from raycollab.data import Distorted, Distortion, Partition, Source
from raycollab.errors import ConfigError
from raycollab.learners import Learner
from raycollab.models import SubModel
from raycollab.quality.opening import check_quality
from raycollab.settings import Settings, require


class Population(Settings, ABC):
    """Makes the agents of an experiment.

    Attributes:
        simulated: Whether any host can read any agent's data, so that agents need not stay where they are.
    """

    simulated: ClassVar[bool] = False

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
        quality: What becomes of rows whose label is likely wrong: "keep", "down-weight" or "drop".
        skew: What changes the examples of a party for good, each a list of distortions; party i has list i modulo
            their number: `[[], [{class_path: Blur, init_args: {sigma: 1}}]]` blurs those of every second one.
        skewed: Column that they change.
        holds: Which part of the net a party holds, such as [null, {class_path: Width, init_args: {width: 0.5}}]; party
            i has part i modulo their number, and null is all of it.
    """

    source: Source
    partition: Partition
    learners: tuple[Learner, ...]
    name: str = "party-{}"
    val_fraction: float = 0.1
    quality: str = "keep"
    skew: tuple[tuple[Distortion, ...], ...] = ()
    skewed: str = "image"
    holds: tuple[SubModel | None, ...] = ()

    simulated: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "learners", tuple(self.learners))
        object.__setattr__(self, "skew", tuple(tuple(each) for each in self.skew))
        object.__setattr__(self, "holds", tuple(self.holds))
        check_quality("Split.quality", self.quality)
        require(bool(self.learners), "Split.learners", [], "give at least one learner")
        require(self.name.count("{}") == 1, "Split.name", self.name, "must contain {} once, for the party's number")

    def agents(self) -> list[Agent]:
        """One agent per part."""
        return [
            Agent(
                self.name.format(index),
                self._skewed(shard, index),
                self.learners[index % len(self.learners)],
                val_fraction=self.val_fraction,
                quality=self.quality,
                holds=self.holds[index % len(self.holds)] if self.holds else None,
            )
            for index, shard in enumerate(self.source.split(self.partition))
        ]

    def _skewed(self, shard: Source, index: int) -> Source:
        distortions = self.skew[index % len(self.skew)] if self.skew else ()
        return Distorted(shard, distortions, self.skewed, seed=index) if distortions else shard
