"""Feature skew: what a party's own scanner, camera or sensor does to its examples, the same each time they are read."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from raycollab.data.base import Opened, Source
from raycollab.data.columns import Columns
from raycollab.data.partition import ByColumn, Partition
from raycollab.errors import DataError
from raycollab.settings import Settings, require


class Distortion(Settings, ABC):
    """Changes examples in a fixed way."""

    @abstractmethod
    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """The changed examples.

        Args:
            values: Floats [n, ...], which stay as they are.
            rows: Number of each in its source [n]: what is drawn for a row depends on nothing else.
            seed: Of what is drawn.
        """


@dataclass(frozen=True)
class Noise(Distortion):
    """Adds normal noise to every value.

    Source: Li et al., 2021, arXiv 2102.02079, section 4.2 (noise-based feature imbalance), which gives party i of n the
        variance sigma * i / n.
    """

    std: float

    def __post_init__(self) -> None:
        require(self.std >= 0, "Noise.std", self.std, "must be >= 0, in the units of the column")

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Add noise that is drawn for each row by its number."""
        size = values[0].numel() if len(values) else 0
        drawn = np.empty((len(rows), size), np.float32)
        for place, row in enumerate(rows.tolist()):
            drawn[place] = _generator(seed, row).standard_normal(size, np.float32)
        return values + torch.from_numpy(drawn).reshape(values.shape).mul_(self.std)


@dataclass(frozen=True)
class Blur(Distortion):
    """Blurs images with a Gaussian kernel.

    Args:
        sigma: Its width, in pixels; the kernel ends at three of them, and the image is mirrored at its edges.
    """

    sigma: float

    def __post_init__(self) -> None:
        require(self.sigma > 0, "Blur.sigma", self.sigma, "must be > 0 pixels")

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Blur [n, channels, height, width]."""
        del rows, seed
        _check_images("Blur", values)
        height, width = values.shape[-2:]
        return _blur_matrix(height, self.sigma) @ values @ _blur_matrix(width, self.sigma).T


@dataclass(frozen=True)
class Rotate(Distortion):
    """Turns images about their middle, counter-clockwise; corners that come in are 0.

    Source: Ghosh et al., 2020, arXiv 2006.04088, section 6 (rotated MNIST: by 0, 90, 180 or 270 degrees).
    """

    degrees: float

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Turn [n, channels, height, width]."""
        del rows, seed
        _check_images("Rotate", values)
        functional = import_module("torchvision.transforms.functional")
        turned: Tensor = functional.rotate(values, self.degrees, functional.InterpolationMode.BILINEAR)
        return turned


@dataclass(frozen=True)
class Shift(Distortion):
    """Moves each image by whole pixels that are drawn for it: objects that nobody has put in the middle.

    Args:
        pixels: At most so many, up or down and left or right; what comes in at an edge is as the edge was.
    """

    pixels: int

    def __post_init__(self) -> None:
        require(self.pixels >= 0, "Shift.pixels", self.pixels, "must be >= 0 pixels")

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Move [n, channels, height, width], each by what is drawn for its row's number."""
        _check_images("Shift", values)
        drawn = [_generator(seed, row).integers(-self.pixels, self.pixels, 2, endpoint=True) for row in rows.tolist()]
        by = torch.from_numpy(np.reshape(drawn, (len(values), 2)))
        height, width = values.shape[-2:]
        lines = (torch.arange(height) - by[:, :1]).clamp(0, height - 1)
        points = (torch.arange(width) - by[:, 1:]).clamp(0, width - 1)
        each = torch.arange(len(values))
        return values[each[:, None, None], :, lines[:, :, None], points[:, None, :]].movedim(-1, 1).contiguous()


@dataclass(frozen=True)
class Rescale(Distortion):
    """Multiplies every value and adds an offset: another sensor's gain and zero, another unit."""

    gain: float = 1.0
    offset: float = 0.0

    def apply(self, values: Tensor, rows: np.ndarray, seed: int) -> Tensor:
        """Values * gain + offset."""
        del rows, seed
        return values * self.gain + self.offset


@dataclass(frozen=True)
class Distorted(Source):
    """A source whose examples are changed, the same each time and whoever reads them.

    Args:
        source: What is changed.
        distortions: Applied one after another.
        column: Column of floats that is changed.
        seed: Seed of what is drawn.
    """

    source: Source
    distortions: tuple[Distortion, ...]
    column: str = "image"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "distortions", tuple(self.distortions))

    def describe(self) -> str:
        """Return one short line for people."""
        names = ", ".join(type(each).__name__ for each in self.distortions)
        return f"{self.source.describe()} with {names or 'no distortion'}"

    def read(self) -> Columns:
        """Read all rows, and change them."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all rows or those of an index, and change them.

        Raises: DataError if the column is not there or holds no floats.
        """
        opened = self.source.open(rows)
        values = opened.columns.get(self.column)
        if values is None or not values.is_floating_point():
            held = "is not there" if values is None else f"holds {values.dtype}"
            there = ", ".join(sorted(opened.columns))
            raise DataError(f"{self.source.describe()}: column {self.column!r} {held}; there are: {there}; give floats")
        numbers = opened.numbers(rows)
        for index, distortion in enumerate(self.distortions):
            values = distortion.apply(values, numbers, self.seed + index)
        return Opened({**opened.columns, self.column: values}, opened.skipped, opened.kept)

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by, as they are in the source."""
        return self.source.keys(names)

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(number)

    def tolerant(self) -> Source:
        """The same, with rows that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def overlap(self) -> str:
        """As of the source."""
        return self.source.overlap()

    def split(self, partition: Partition) -> Sequence[Source]:
        """Return one source per part; rows are numbered as in the source, or within the part if that is a column's."""
        if isinstance(partition, ByColumn):
            return [replace(self, source=part) for part in self.source.split(partition)]
        return super().split(partition)


def _generator(seed: int, row: int) -> np.random.Generator:
    """What is drawn for a row, the same on every machine."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, row]))


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """What blurs one axis by a product [size, size]: a convolution is slower for small images."""
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    sources = np.pad(np.arange(size), radius, "symmetric")
    matrix = np.zeros((size, size))
    for place in range(size):
        np.add.at(matrix[place], sources[place : place + 2 * radius + 1], kernel / kernel.sum())
    return torch.from_numpy(matrix).to(torch.float32)


def _check_images(name: str, values: Tensor) -> None:
    if values.ndim != 4:
        raise DataError(f"{name}: the column has shape {list(values.shape)}; give images [n, channels, height, width]")
