"""A step that changes a delta: on an agent before aggregation, or on the driver after it."""

from abc import ABC, abstractmethod

from torch import Tensor

from raycollab.types import State, Step


class Transform(Step, ABC):
    """Clip, noise, momentum: a frozen value with an explicit state."""

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    @abstractmethod
    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Return the changed delta [d] and the next state; the arguments stay as they are."""
