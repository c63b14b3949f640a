"""A model as a value: the recipe that every agent builds its own module from."""

import math
from abc import ABC, abstractmethod
from inspect import isabstract
from typing import Any, Self

from torch import nn

from raycollab.errors import ModelError
from raycollab.settings import Settings


class Model(Settings, ABC):
    """A frozen recipe of a module: it travels, compares, prints and is written into the run folder."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the module; its initial weights come from torch's seed."""

    def narrowed(self, width: float) -> Self:
        """The same recipe with its hidden layers `width` times as wide, rounded up; inputs and outputs stay.

        Each tensor is the first rows, columns, ... of the one of its name here, and computes as this net would with all
        others at zero.

        Args:
            width: In (0, 1].
        Raises: ModelError for a recipe that has no such nets.
        """
        del width
        able = ", ".join(sorted(kind.__name__ for kind in _below(Model) if _narrows(kind)))
        raise ModelError(f"{type(self).__name__} has no narrower nets inside; models that have: {able}")


def share_of(size: int, width: float) -> int:
    """A share of a layer's outputs, rounded up: one at least."""
    return max(1, math.ceil(round(size * width, 6)))  # 100 * 0.07 is a little more than 7


def _below(kind: type[Any]) -> set[type[Model]]:
    return {each for child in kind.__subclasses__() for each in (child, *_below(child))}


def _narrows(kind: type[Model]) -> bool:
    return "narrowed" in vars(kind) and kind.narrowed is not Model.narrowed and not isabstract(kind)
