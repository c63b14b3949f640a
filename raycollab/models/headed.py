"""A trunk that parties share, and a head of each one's own."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Self

from torch import nn

from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class Headed(Model):
    """A head on a trunk, with names by which `Exchange(include=("trunk.*",))` tells them apart.

    Parties with other label sets take one trunk and a head each: `Headed(MLP(64, 32), MLP(32, 5, ()))`.

    Args:
        trunk: Inputs [b, ...] -> features [b, ...].
        head: Features -> outputs [b, c].
    """

    trunk: Model
    head: Model

    def __post_init__(self) -> None:
        accepted = "must be a recipe such as rc.models.MLP(64, 32)"
        for name in ("trunk", "head"):
            require(isinstance(getattr(self, name), Model), f"Headed.{name}", getattr(self, name), accepted)

    def build(self) -> nn.Module:
        """Make the module; the trunk first, so that it begins the same under any head."""
        return nn.Sequential(OrderedDict(trunk=self.trunk.build(), head=self.head.build()))

    def narrowed(self, width: float) -> Self:
        """With narrower layers in trunk and head; the features between them stay as they are."""
        return replace(self, trunk=self.trunk.narrowed(width), head=self.head.narrowed(width))
