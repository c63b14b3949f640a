"""The two ways to misbehave: by oneself, or together with a view of what the honest ones send."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from raycollab.aggregation import Rows
from raycollab.learners import Learner
from raycollab.settings import Settings
from raycollab.task import Task
from raycollab.types import State


class Misbehaviour(Settings, ABC):
    """What bad agents do: a frozen value.

    Attributes:
        name: What `Attack(kind=...)` calls it.
        formula: What they send, in one line of plain text.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = ""


class LocalAttack(Misbehaviour):
    """A bad agent that needs nobody else: it learns, or pretends to, in another way.

    The chain's transforms left of the aggregator then change what it sends, as they do for everybody.
    """

    @abstractmethod
    def learner(self, learner: Learner, task: Task) -> Learner:
        """What a bad agent has instead of its learner."""


class Collusion(Misbehaviour):
    """Bad agents that know every honest update of the round and send one vector in common.

    They train as everybody does and report what they found, weight and scalars included; only the vectors are replaced,
    where the updates are merged: after the transforms on the agents, before anything of the rule.
    """

    def check(self, num_agents: int, num_bad: int, honest: Sequence[str]) -> None:
        """Raise ConfigError if so many bad agents of so many cannot do it."""
        del num_agents, num_bad, honest

    def init(self) -> State:
        """What they remember before the first round."""
        return {}

    def plan(self, deltas: Rows, agents: Sequence[str], state: State) -> tuple[int, State]:
        """Choose the honest update that matters most, by its row; and what they remember after the round."""
        del deltas, agents
        return 0, state

    @abstractmethod
    def forge(self, honest: Rows, num_bad: int, chosen: int) -> Tensor:
        """What all of them send under one name [d], given the honest vectors of that name [k, d]."""
