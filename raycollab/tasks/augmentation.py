"""Augmentations: other views of the same images, drawn anew in every training step, on the device.

They draw from torch's generator, which an agent's host seeds for each agent and round, so a run with them has the same
bits on any number of hosts. A GPU draws other numbers than a CPU.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from raycollab.settings import Settings, require, require_one_of


class Augmentation(Settings, ABC):
    """Changes the images of a training batch at random, each in its own way."""

    @property
    def smallest(self) -> int:
        """The shortest side of an image that it can change, in pixels."""
        return 1

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """New images of the same shape [b, channels, h, w]; those that are given stay as they are."""


@dataclass(frozen=True)
class RandomCrop(Augmentation):
    """Moves each image by up to `padding` pixels in both directions.

    Args:
        padding: Pixels put around an image before a piece of its old size is cut out.
        mode: What they hold: "constant" is 0, which is the mean of normalized images; "reflect" mirrors the image.
    Source: He et al., CVPR 2016, arXiv 1512.03385, section 4.2 (4 pixels of zeros).
    """

    padding: int = 4
    mode: str = "constant"

    def __post_init__(self) -> None:
        require(self.padding >= 1, "RandomCrop.padding", self.padding, "must be >= 1 pixels")
        require_one_of("RandomCrop.mode", self.mode, ("constant", "reflect"))

    @property
    def smallest(self) -> int:
        """What is mirrored must be there."""
        return self.padding + 1 if self.mode == "reflect" else 1

    def apply(self, images: Tensor) -> Tensor:
        """Pad, and cut out."""
        count, (height, width) = len(images), images.shape[-2:]
        padded = functional.pad(images, (self.padding,) * 4, self.mode)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view [b, channels, 2p + 1, 2p + 1, h, w]
        places = torch.randint(2 * self.padding + 1, (2, count), device=images.device)
        return windows[torch.arange(count, device=images.device), :, places[0], places[1]]


@dataclass(frozen=True)
class HorizontalFlip(Augmentation):
    """Mirrors each image left to right with some probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        require(0 < self.probability <= 1, "HorizontalFlip.probability", self.probability, "must be in (0, 1]")

    def apply(self, images: Tensor) -> Tensor:
        """Mirror those that are drawn."""
        drawn = torch.rand(len(images), device=images.device) < self.probability
        return torch.where(drawn.view(-1, 1, 1, 1), images.flip(3), images)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Sets a square of each image to 0, at a place drawn for each; at the edges a part of it is outside.

    Args:
        size: Its side in pixels.
    Source: DeVries and Taylor, 2017, arXiv 1708.04552, section 3.2.
    """

    size: int = 8

    def __post_init__(self) -> None:
        require(self.size >= 1, "Cutout.size", self.size, "must be >= 1 pixels")

    def apply(self, images: Tensor) -> Tensor:
        """Cut out."""
        rows, columns = (self._covered(len(images), size, images.device) for size in images.shape[-2:])
        return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)

    def _covered(self, count: int, size: int, device: torch.device) -> Tensor:
        """Which places along one side the square covers: bool [count, size]."""
        first = torch.randint(size, (count, 1), device=device) - self.size // 2
        places = torch.arange(size, device=device)
        return (places >= first) & (places < first + self.size)


@dataclass(frozen=True)
class ResizedCrop(Augmentation):
    """Cuts a piece out of each image, at a place and of a size and shape drawn for each, and scales it to the old size.

    Places and sides are real numbers, read off between pixels; where a piece would be longer than the image, it ends
    with it.

    Args:
        scale: Smallest and largest share of the image's area, in (0, 1].
        ratio: Smallest and largest width by height, as a multiple of the image's own.
    Source: Chen et al., ICML 2020, arXiv 2002.05709, appendix A (scale 0.08 to 1, ratio 3/4 to 4/3).
    """

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        for name, most in (("scale", 1.0), ("ratio", math.inf)):
            bounds = tuple(getattr(self, name))
            object.__setattr__(self, name, bounds)
            good = len(bounds) == 2 and 0 < bounds[0] <= bounds[1] <= most
            accepted = f"must be two numbers in (0, {most:g}], the smaller first"
            require(good, f"ResizedCrop.{name}", bounds, accepted)

    @property
    def smallest(self) -> int:
        """The smallest piece is two pixels high and wide."""
        thinnest = min(self.ratio[0], 1 / self.ratio[1])
        return math.ceil(2 / math.sqrt(self.scale[0] * thinnest))

    def apply(self, images: Tensor) -> Tensor:
        """Cut out, and scale."""
        count, (height, width) = len(images), images.shape[-2:]
        drawn = torch.rand(4, count, device=images.device)
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * drawn[0]
        shape = self.ratio[0] * (self.ratio[1] / self.ratio[0]) ** drawn[1]
        sides = torch.stack([area * shape, area / shape]).sqrt().clamp(max=1.0)  # width, height; the image's are 1
        places = (2 * drawn[2:] - 1) * (1 - sides)  # of their middles; the image goes from -1 to 1
        across, down = (
            middles(size, images.device) * sides[axis][:, None] + places[axis][:, None]
            for axis, size in enumerate((width, height))
        )  # [b, width], [b, height]
        grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), 3)
        pieces = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return as_given(pieces, images)


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Makes each image brighter or darker, of more or less contrast, and its colours stronger or weaker.

    Nothing is cut off at black or white, because normalized images do not say where those are.

    Args:
        brightness: The most that is added or taken away, in units of the images' values; of 255 for bytes.
        contrast: By how much, at most, distances from the image's own mean grow or shrink, in [0, 1).
        saturation: The same of distances from gray, in [0, 1); for images of three channels only.
    Source: Chen et al., ICML 2020, arXiv 2002.05709, appendix A; here always, without hue, and the brightness is added.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __post_init__(self) -> None:
        require(self.brightness >= 0, "ColorJitter.brightness", self.brightness, "must be >= 0")
        for name in ("contrast", "saturation"):
            require(0 <= getattr(self, name) < 1, f"ColorJitter.{name}", getattr(self, name), "must be in [0, 1)")

    def apply(self, images: Tensor) -> Tensor:
        """Change brightness and contrast, then colours."""
        brighter, wider, stronger = 2 * torch.rand(3, len(images), 1, 1, 1, device=images.device) - 1
        values = images.float()
        mean = values.mean((1, 2, 3), keepdim=True)
        unit = 1.0 if images.is_floating_point() else 255.0
        values = mean + (values - mean) * (1 + self.contrast * wider) + self.brightness * unit * brighter
        if images.shape[1] == 3:
            gray = (values * values.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
            values = gray + (values - gray) * (1 + self.saturation * stronger)
        return as_given(values, images)


@dataclass(frozen=True)
class GaussianBlur(Augmentation):
    """Blurs some of the images, each with a Gaussian kernel of its own width; beyond the edges there is nothing.

    Args:
        probability: Of an image to be blurred.
        sigma: Smallest and largest width of the kernel, in pixels.
    Source: Chen et al., ICML 2020, arXiv 2002.05709, appendix A (half of the images, 0.1 to 2 pixels).
    """

    probability: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", tuple(self.sigma))
        require(0 < self.probability <= 1, "GaussianBlur.probability", self.probability, "must be in (0, 1]")
        good = len(self.sigma) == 2 and 0 < self.sigma[0] <= self.sigma[1]
        require(good, "GaussianBlur.sigma", self.sigma, "must be two widths > 0 in pixels, the smaller first")

    def apply(self, images: Tensor) -> Tensor:
        """Blur those that are drawn, down and across."""
        drawn = torch.rand(2, len(images), 1, 1, 1, device=images.device)
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * drawn[0]
        down, across = (_kernels(size, sigma) for size in images.shape[-2:])
        blurred = as_given(down @ images.float() @ across.transpose(2, 3), images)
        return torch.where(drawn[1] < self.probability, blurred, images)


_LUMA = (0.299, 0.587, 0.114)


def middles(size: int, device: torch.device) -> Tensor:
    """Where the middles of so many pixels are between -1 and 1 [size]."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _kernels(size: int, sigma: Tensor) -> Tensor:
    """Matrices that blur along a side, their rows of sum 1: [b, 1, size, size] for widths [b, 1, 1, 1]."""
    places = torch.arange(size, device=sigma.device)
    return (-((places[:, None] - places) ** 2) / (2 * sigma**2)).softmax(3)


def as_given(values: Tensor, images: Tensor) -> Tensor:
    """Floats in the type of the images that they were made of; bytes are rounded."""
    if images.is_floating_point():
        return values.to(images.dtype)
    return values.round().clamp(0, 255).to(images.dtype)
