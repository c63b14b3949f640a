"""A multilayer perceptron."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

from torch import nn

from raycollab.models.base import Model, share_of
from raycollab.settings import require


@dataclass(frozen=True)
class MLP(Model):
    """Linear layers with ReLU between them; the input is flattened.

    Shapes: [b, ...] with num_features elements each -> [b, num_outputs].
    """

    num_features: int
    num_outputs: int
    hidden: tuple[int, ...] = (128,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in ("num_features", "num_outputs"):
            require(getattr(self, name) >= 1, f"MLP.{name}", getattr(self, name), "must be >= 1")
        require(all(width >= 1 for width in self.hidden), "MLP.hidden", self.hidden, "widths must be >= 1")

    def build(self) -> nn.Module:
        """Make the module."""
        widths = (self.num_features, *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], self.num_outputs))

    def narrowed(self, width: float) -> Self:
        """With narrower hidden layers."""
        return replace(self, hidden=tuple(share_of(each, width) for each in self.hidden))
