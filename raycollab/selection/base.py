"""Who takes part in a round."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import ClassVar

from raycollab.settings import Settings


@dataclass(frozen=True)
class Candidate:
    """What the driver knows of an agent when it chooses.

    Args:
        name: The agent.
        examples: Its training examples.
        loss: Its mean training loss in the last round that it took part in; nan before that.
    """

    name: str
    examples: int
    loss: float = nan


class Selection(Settings, ABC):
    """Chooses the agents of a round. The same candidates, round and seed give the same choice.

    Attributes:
        by_loss: Whether it goes by the loss of each agent.
    """

    by_loss: ClassVar[bool] = False

    def check_agents(self, names: Sequence[str]) -> None:
        """Raise ConfigError if it cannot choose among agents of these names."""
        del names

    @abstractmethod
    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Names of `count` of the candidates, in their order.

        Args:
            candidates: All agents that are ready.
            count: How many to choose, 1 .. len(candidates).
            round: The round, from 1.
            seed: The run's seed.
        """
