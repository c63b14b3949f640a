"""Which examples of a shard look alike: numbers in which distances mean something, and the nearest rows by them."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from raycollab.quality.texts import bags
from raycollab.rng import numpy_generator

NUMBERS, NAMES, TEXT = "numbers", "names", "text"
_LARGEST_SIDE = 16  # of images, which are averaged down to it: what is compared is what they show, not their grain
_MOST_FEATURES = 64  # beyond, the directions of most variance are kept
_MOST_EXACT = 1024  # beyond, those are found in a random projection, which keeps distances to a few per cent
_MOST_NAMES = 64  # different ones of a column; whole numbers of more kinds are amounts
MOST_ENTRIES = 512  # of a vector whose entries have units of their own; a longer one is a series
_BLOCK = 1024
_SMALLEST_STD = 1e-6


def kind_of(column: Tensor) -> str:
    """What the rows of a column are compared as: numbers, names, text, or nothing of these.

    Floats and bytes are numbers. Rows of whole numbers are tokens of a text. A whole number is a name, or the number of
    one, if there are up to 64 different ones, and an amount beyond.
    """
    if column.is_floating_point() or column.dtype == torch.uint8:
        return NUMBERS
    if column.ndim > 1:
        return TEXT if column.ndim == 2 else ""
    return NAMES if len(column.unique()) <= _MOST_NAMES else NUMBERS


def features(columns: Mapping[str, Tensor]) -> Tensor:
    """What the columns say, in units in which a distance means something.

    A number, and each entry of a vector of up to 512, becomes its rank, because many have long tails; each then has
    variance 1, and an image or a series has it on average. Missing values count as the mean. Two names are as far apart
    as two numbers are at random. Texts are told by what stands in them, as few directions as keep most of it.

    Shapes: columns [n, ...] -> [n, k], k at most 64; k is 0 if there is nothing that can be compared.
    """
    length = len(next(iter(columns.values())))
    parts = [_made(column) for _, column in sorted(columns.items())]
    whole = torch.cat([torch.zeros(length, 0), *parts], 1)
    return whole if whole.shape[1] <= _MOST_FEATURES else _main_directions(whole)


def nearest(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest other rows.

    Args:
        points: [n, k].
        count: Of neighbours, < n.
    Returns: Their places and distances, [n, count], the nearest first.
    """
    squares = (points**2).sum(1)
    places, distances = [], []
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        apart = squares[block, None] + squares - 2 * points[block] @ points.T
        apart[torch.arange(len(apart)), torch.arange(start, start + len(apart))] = torch.inf
        found = apart.topk(count, largest=False)
        places.append(found.indices)
        distances.append(found.values.clamp(min=0).sqrt())
    return torch.cat(places), torch.cat(distances)


def _made(column: Tensor) -> Tensor:
    kind = kind_of(column)
    if kind == NUMBERS:
        return _standard(column)
    if kind == NAMES:
        names, places = column.unique(return_inverse=True)
        return functional.one_hot(places, max(1, len(names))).float()
    return _whole(_main_directions(bags(column))) if kind == TEXT else torch.zeros(len(column), 0)


def _standard(column: Tensor) -> Tensor:
    values = column.float()
    if values.ndim == 4:
        height, width = (min(side, _LARGEST_SIDE) for side in values.shape[2:])
        values = functional.adaptive_avg_pool2d(values.nan_to_num(), (height, width))
    values = values.flatten(1) if values.ndim > 1 else values[:, None]
    values = values.where(values.isfinite(), torch.nan)
    each = column.ndim <= 2 and values.shape[1] <= MOST_ENTRIES
    if each:
        values = torch.stack([_ranks(entry) for entry in values.T], 1)
    values = (values - values.nanmean(0)).nan_to_num()
    return values / values.std(0, correction=0).clamp(min=_SMALLEST_STD) if each else _whole(values)


def _whole(values: Tensor) -> Tensor:
    """Values of one unit, with variance 1 on average."""
    return values / values.std(0, correction=0).square().mean().sqrt().clamp(min=_SMALLEST_STD)


def _ranks(values: Tensor) -> Tensor:
    """Middle ranks of the values [n]; those that are missing have none."""
    there = ~values.isnan()
    _, places, counts = values[there].unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0) - 0.5 * counts
    return torch.full_like(values, torch.nan).masked_scatter(there, middle[places])


def _main_directions(points: Tensor) -> Tensor:
    if points.shape[1] > _MOST_EXACT:
        drawn = numpy_generator(0, "projection").choice((-1.0, 1.0), size=(points.shape[1], _MOST_EXACT))
        points = points @ torch.from_numpy(drawn.astype(np.float32)).div_(math.sqrt(_MOST_EXACT))
    points = points - points.mean(0)
    if len(points) < points.shape[1]:  # the same from the smaller side
        squares, directions = torch.linalg.eigh((points @ points.T).double())
        kept = directions * squares.clamp(min=0).sqrt()
        return kept[:, -_MOST_FEATURES:].float()
    _, directions = torch.linalg.eigh((points.T @ points).double())  # in float32 it fails where there is little in many
    return points @ directions[:, -_MOST_FEATURES:].float()
