"""A step that changes a delta: on an agent before aggregation, or on the driver after it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor

from raycollab.spec import ParamSpec
from raycollab.types import State, Step


class Transform(Step, ABC):
    """Clip, noise, momentum: a frozen value with an explicit state.

    Attributes:
        remembers: Whether it needs the state of its last update.
        together: Whether agents do it together: only on the left of an aggregator, which must weigh all the same.
        last: Whether it has the last word on the common model: only as the last step of a chain.
        formula: What it computes, in one line of plain text.
    """

    remembers: ClassVar[bool] = True
    together: ClassVar[bool] = False
    last: ClassVar[bool] = False
    formula: ClassVar[str] = ""

    def bind(self, spec: ParamSpec) -> Self:
        """The transform for vectors of this form; override it in those that go by parameters' names."""
        del spec
        return self

    def init(self, params: Tensor) -> State:
        """State before the first round; params [d]."""
        del params
        return {}

    def tells(self, state: State) -> Mapping[str, float]:
        """Scalars that an agent's update carries because of it, by the state after the update."""
        del state
        return {}

    @abstractmethod
    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Return the changed delta [d] and the next state; the arguments stay as they are."""
