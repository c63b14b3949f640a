"""A small convolutional net for images."""

from dataclasses import dataclass, replace
from typing import Self

from torch import nn

from raycollab.models.base import Model, share_of
from raycollab.settings import require


@dataclass(frozen=True)
class CNN(Model):
    """Blocks of convolution 3x3, optional BatchNorm, ReLU and 2x2 pooling, then one hidden layer.

    Shapes: images [b, in_channels, size, size] -> [b, num_outputs]; `size` must survive one halving per block.
    """

    num_outputs: int
    in_channels: int = 1
    size: int = 28
    channels: tuple[int, ...] = (32, 64)
    hidden: int = 128
    batch_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        require(
            self.size >> len(self.channels) >= 1,
            "CNN.size",
            self.size,
            f"is halved {len(self.channels)} times by channels={self.channels}",
        )
        for name in ("num_outputs", "in_channels", "hidden"):
            require(getattr(self, name) >= 1, f"CNN.{name}", getattr(self, name), "must be >= 1")
        require(all(width >= 1 for width in self.channels), "CNN.channels", self.channels, "widths must be >= 1")

    def build(self) -> nn.Module:
        """Make the module."""
        layers: list[nn.Module] = []
        before = self.in_channels
        for after in self.channels:
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not self.batch_norm))
            layers += [nn.BatchNorm2d(after)] if self.batch_norm else []
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            before = after
        num_features = before * (self.size >> len(self.channels)) ** 2
        head = [nn.Flatten(), nn.Linear(num_features, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.num_outputs)]
        return nn.Sequential(*layers, *head)

    def narrowed(self, width: float) -> Self:
        """With fewer channels and a narrower hidden layer, which is given its channels one after another."""
        channels = tuple(share_of(each, width) for each in self.channels)
        return replace(self, channels=channels, hidden=share_of(self.hidden, width))
