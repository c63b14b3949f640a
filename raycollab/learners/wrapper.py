"""Learners that do something beside another one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from raycollab.learners.base import Learner
from raycollab.settings import require
from raycollab.task import Problem
from raycollab.types import State


@dataclass(frozen=True)
class LearnerWrapper(Learner):
    """Asks for, sends and remembers what another learner does; override what differs.

    Args:
        learner: Takes the steps.

    Attributes:
        adds: What it sends beside that.
    """

    learner: Learner

    adds: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner needs."""
        return self.learner.needs

    @property
    def models(self) -> tuple[str, ...]:  # type: ignore[override]
        """As the learner does."""
        return self.learner.models

    @property
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends, and what this one adds."""
        return (*self.learner.sends, *self.adds)

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the learner does."""
        return self.learner.remembers

    @property
    def compares_outputs(self) -> bool:  # type: ignore[override]
        """Whether the learner does."""
        return self.learner.compares_outputs

    @property
    def withholds(self) -> bool:  # type: ignore[override]
        """Whether the learner does."""
        return self.learner.withholds

    def init(self, params: Tensor) -> State:
        """The learner's."""
        return self.learner.init(params)

    def check(self, num_examples: int) -> None:
        """As the learner does; and one that counts what it tells must not have another beside it that does not."""
        name, inner = type(self).__name__, type(self.learner).__name__
        accepted = f"{inner} counts all that is told of the data, and {name} would tell more: give {inner} to the agent"
        require(not self.learner.counted, f"{name}.learner", self.learner, accepted)
        self.learner.check(num_examples)

    def check_model(self, module: nn.Module) -> None:
        """As the learner does."""
        self.learner.check_model(module)

    def own_model(self, problem: Problem, vectors: Mapping[str, Tensor], state: State) -> dict[str, Tensor] | None:
        """The learner's."""
        return self.learner.own_model(problem, vectors, state)
