"""Weights found by an evolution strategy: it asks for losses alone, and follows no gradient."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from raycollab.errors import ConfigError


def check_installed() -> None:
    """Raise ConfigError if the library is not there."""
    if find_spec("cmaes") is None:
        raise ConfigError(
            "LearnedWeights.method='cma' needs cmaes, which is not installed: pip install 'raycollab[search]', where "
            "the driver runs; method='gradient' needs nothing"
        )


Losses = Callable[[Sequence[Tensor]], Sequence[float]]


def evolved(losses: Losses, start: Tensor, *, generations: int, spread: float, seed: int) -> Tensor:
    """The best point that covariance matrix adaptation comes across; the start, if none is better.

    Args:
        losses: What is to be small, of points [k, groups]; those of a generation are asked for together.
        start: Where it begins [k, groups].
        generations: How often it draws points, 4 + 3 log(k * groups) at a time.
        spread: Deviation of the first generation.
        seed: Of what is drawn.
    Source: Hansen, The CMA Evolution Strategy: A Tutorial, 2016, arXiv 1604.00772, as in the package cmaes.
    """
    mean = start.reshape(-1).numpy().astype(np.float64)
    strategy = import_module("cmaes").CMA(mean=mean, sigma=spread, seed=seed % 2**31)
    best, (least,) = start, losses([start])
    for _ in range(generations):
        drawn = [strategy.ask() for _ in range(strategy.population_size)]
        points = [torch.from_numpy(each).view(start.shape) for each in drawn]
        found = losses(points)
        for point, value in zip(points, found, strict=True):
            if value < least:
                best, least = point.clone(), value
        if not np.isfinite(found).all():
            break  # a merge that is no number ranks nobody
        strategy.tell(list(zip(drawn, found, strict=True)))
    return best
