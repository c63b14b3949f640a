"""Residual nets for small images, as they were first measured on CIFAR-10."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from raycollab.models.base import Model
from raycollab.settings import require

_STAGES = 3


@dataclass(frozen=True)
class ResNet(Model):
    """ResNet-20, 32, 44, 56 or 110: three stages of two-layer blocks, shortcuts without parameters.

    Where the size halves and the channels double, the shortcut takes every second pixel and puts channels of zeros
    around the others (option A). Parameters are named conv1, bn1, layer{1,2,3}.i.conv{1,2}, layer{1,2,3}.i.bn{1,2} and
    linear.

    Args:
        num_outputs: Width of the last layer.
        depth: Layers with weights: 6 n + 2 for n blocks a stage.
        width: Channels of the first stage, an even number; the others have twice and four times as many.
        in_channels: Channels of an image.
    Shapes: images [b, in_channels, h, w] of any size from 4 on -> [b, num_outputs].
    Source: He et al., CVPR 2016, arXiv 1512.03385, section 4.2; names and initial values are those of
        github.com/akamaster/pytorch_resnet_cifar10.
    """

    num_outputs: int
    depth: int = 20
    width: int = 16
    in_channels: int = 3

    def __post_init__(self) -> None:
        fits = self.depth >= 8 and self.depth % 6 == 2
        require(fits, "ResNet.depth", self.depth, "must be 6 n + 2, such as 20, 32 or 56")
        even = self.width >= 2 and self.width % 2 == 0
        require(
            even, "ResNet.width", self.width, "must be an even number >= 2: half of the new channels go to each side"
        )
        for name in ("num_outputs", "in_channels"):
            require(getattr(self, name) >= 1, f"ResNet.{name}", getattr(self, name), "must be >= 1")

    def build(self) -> nn.Module:
        """Make the module."""
        return _ResNet(self)


class _ResNet(nn.Module):
    def __init__(self, form: ResNet):
        super().__init__()
        self.conv1 = nn.Conv2d(form.in_channels, form.width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(form.width)
        before = form.width
        for stage in range(_STAGES):
            after, blocks = form.width << stage, list[nn.Module]()
            for _ in range((form.depth - 2) // (2 * _STAGES)):
                blocks.append(_Block(before, after))
                before = after
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, form.num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(images)))
        for stage in range(_STAGES):
            hidden = self.get_submodule(f"layer{stage + 1}")(hidden)
        return self.linear(hidden.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, before: int, after: int):
        super().__init__()
        self._new = after - before
        self.conv1 = nn.Conv2d(before, after, 3, stride=2 if self._new else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        side = self._new // 2
        shortcut = functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, side, side)) if self._new else images
        return functional.relu(hidden + shortcut)
