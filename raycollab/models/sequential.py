"""Models one after another."""

from dataclasses import dataclass, replace
from typing import Self

from torch import nn

from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class Sequential(Model):
    """Models of which each is given what the one before it makes, such as a front end and a net for images.

    Parameters are named by place: "1.0.weight" is the second model's "0.weight".

    Example: `Sequential((LogMel(rate=8000, mels=32, hop_s=0.025), CNN(num_outputs=10, size=32)))`.
    """

    parts: tuple[Model, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        good = bool(self.parts) and all(isinstance(part, Model) for part in self.parts)
        require(good, "Sequential.parts", self.parts, "must be recipes of models, such as (LogMel(8000), CNN(10))")

    def build(self) -> nn.Module:
        """Make the module."""
        return nn.Sequential(*(part.build() for part in self.parts))

    def narrowed(self, width: float) -> Self:
        """With narrower layers in each; what goes from one to the next stays as it is."""
        return replace(self, parts=tuple(part.narrowed(width) for part in self.parts))
