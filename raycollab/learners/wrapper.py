"""Learners that do something beside another one."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raycollab.learners.base import Learner
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
    def sends(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the learner sends, and what this one adds."""
        return (*self.learner.sends, *self.adds)

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the learner does."""
        return self.learner.remembers

    def init(self, params: Tensor) -> State:
        """The learner's."""
        return self.learner.init(params)
