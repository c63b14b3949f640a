"""Residual nets for small images, as they were first measured on CIFAR-10."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ModelError
from raycollab.models.base import Model, share_of
from raycollab.settings import require, require_one_of

_STAGES = 3


@dataclass(frozen=True)
class ResNet(Model):
    """ResNet-20, 32, 44, 56 or 110: three stages of two-layer blocks, shortcuts without parameters.

    Where the size halves and the channels double, the shortcut takes every second pixel and puts channels of zeros
    around the others, or behind them (option A). Parameters are named conv1, bn1, layer{1,2,3}.i.conv{1,2},
    layer{1,2,3}.i.bn{1,2} and linear.

    Args:
        num_outputs: Width of the last layer.
        depth: Layers with weights: 6 n + 2 for n blocks a stage.
        width: Channels of the first stage, an even number; the others have twice and four times as many.
        in_channels: Channels of an image.
        zeros: Where the shortcut has its channels of zeros: "around" the others, as in the weights that are published,
            or "behind" them, so that narrower nets are parts of this one.
    Shapes: images [b, in_channels, h, w] of any size from 4 on -> [b, num_outputs].
    Source: He et al., CVPR 2016, arXiv 1512.03385, section 4.2; names and initial values are those of
        github.com/akamaster/pytorch_resnet_cifar10.
    """

    num_outputs: int
    depth: int = 20
    width: int = 16
    in_channels: int = 3
    zeros: str = "around"

    def __post_init__(self) -> None:
        fits = self.depth >= 8 and self.depth % 6 == 2
        require(fits, "ResNet.depth", self.depth, "must be 6 n + 2, such as 20, 32 or 56")
        require_one_of("ResNet.zeros", self.zeros, ("around", "behind"))
        even = self.width >= 1 and (self.zeros == "behind" or self.width % 2 == 0)
        accepted = "must be an even number >= 2: half of the new channels go to each side"
        require(even, "ResNet.width", self.width, accepted if self.zeros == "around" else "must be >= 1")
        for name in ("num_outputs", "in_channels"):
            require(getattr(self, name) >= 1, f"ResNet.{name}", getattr(self, name), "must be >= 1")

    def build(self) -> nn.Module:
        """Make the module."""
        parts = OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(self.in_channels, self.width, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(self.width),
            relu=nn.ReLU(),
        )
        before = self.width
        for stage in range(_STAGES):
            after, blocks = self.width << stage, list[nn.Module]()
            for _ in range((self.depth - 2) // (2 * _STAGES)):
                blocks.append(_Block(before, after, self.zeros))
                before = after
            parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        module = nn.Sequential(OrderedDict(parts, pool=_Pool(), linear=nn.Linear(before, self.num_outputs)))
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        return module

    def narrowed(self, width: float) -> Self:
        """With fewer channels in every stage.

        Raises: ModelError with zeros around a shortcut's channels, which are then others than those of a narrower net.
        """
        if self.zeros == "around":
            raise ModelError("ResNet.zeros='around': has no narrower nets inside; set zeros='behind'")
        return replace(self, width=share_of(self.width, width))


class _Pool(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, zeros: str):
        super().__init__()
        self._new = after - before
        side = self._new // 2
        self._zeros = (side, side) if zeros == "around" else (0, self._new)
        self.conv1 = nn.Conv2d(before, after, 3, stride=2 if self._new else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        shortcut = functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, *self._zeros)) if self._new else images
        return functional.relu(hidden + shortcut)
