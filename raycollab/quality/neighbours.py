"""Which examples of a shard look alike: numbers in which distances mean something, and the nearest rows by them."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from raycollab.rng import numpy_generator

_LARGEST_SIDE = 16  # of images, which are averaged down to it: what is compared is what they show, not their grain
_MOST_FEATURES = 64  # beyond, the directions of most variance are kept
_MOST_EXACT = 1024  # beyond, those are found in a random projection, which keeps distances to a few per cent
MOST_ENTRIES = 512  # of a vector whose entries have units of their own; a longer one is a series
_BLOCK = 1024
_SMALLEST_STD = 1e-6


def features(columns: Mapping[str, Tensor]) -> Tensor:
    """What the columns of floats say, in units in which a distance means something.

    A number, and each entry of a vector of up to 512, becomes its rank, because many have long tails; each then has
    variance 1, and so has an image or a series as a whole. Missing values count as the mean.

    Shapes: columns [n, ...] -> [n, k], k at most 64; k is 0 if there are no floats.
    """
    parts = [_standard(column) for _, column in sorted(columns.items()) if column.is_floating_point()]
    if not parts:
        length = len(next(iter(columns.values())))
        return torch.zeros(length, 0)
    whole = torch.cat(parts, 1)
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
    std = values.std(0, correction=0) if each else values.std(0, correction=0).square().mean().sqrt()
    return values / std.clamp(min=_SMALLEST_STD)


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
    _, directions = torch.linalg.eigh(points.T @ points)
    return points @ directions[:, -_MOST_FEATURES:]
