"""Tasks that come from a function and not from a shard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi
from typing import ClassVar

import numpy as np
import torch

from raycollab.errors import DataError
from raycollab.meta.episodes import Episode, Episodes
from raycollab.recipe import import_named
from raycollab.settings import require
from raycollab.task import Shard
from raycollab.types import Batch


@dataclass(frozen=True)
class Sinusoids(Episodes):
    """Curves a sin(x - b): a is uniform in [0.1, 5], b in [0, pi], x in [-5, 5]; the shard is not looked at.

    Args:
        support: Points to adapt to, >= 1.
        query: Points to be judged by, >= 1.
    Shapes: "features" [e, n, 1], "label" [e, n].
    Source: Finn et al., ICML 2017, arXiv 1703.03400, section 5.1.
    """

    support: int = 10
    query: int = 10

    def __post_init__(self) -> None:
        for name in ("support", "query"):
            require(getattr(self, name) >= 1, f"Sinusoids.{name}", getattr(self, name), "must be >= 1")

    def draw(self, shard: Shard, seeds: Sequence[int]) -> Episode:
        """Points of a curve for each seed."""
        del shard
        draws = np.stack([np.random.default_rng(seed).random(2 + self.support + self.query) for seed in seeds])
        height, phase, x = 0.1 + 4.9 * draws[:, :1], pi * draws[:, 1:2], 10 * draws[:, 2:] - 5
        points, values = (torch.from_numpy(column).float() for column in (x, height * np.sin(x - phase)))
        cut = self.support
        return (
            {"features": points[:, :cut, None], "label": values[:, :cut]},
            {"features": points[:, cut:, None], "label": values[:, cut:]},
        )


@dataclass(frozen=True)
class FromFunction(Episodes):
    """Episodes that a function of your own makes; the shard is not looked at.

    Args:
        function: Called with a seed; returns support and query, each a dict of tensors [n, ...] by column, of the same
            shapes for every seed. Or where to import it from: "package.module:name".
        relabelled: Whether its classes are an episode's own, 0..N-1, so that other data may call them anything.
    Raises: ConfigError if it cannot be imported; DataError if episodes differ in shape.
    """

    function: Callable[[int], Episode] | str
    relabelled: bool = False

    imports: ClassVar[tuple[str, ...]] = ("function",)

    @property
    def relabels(self) -> bool:  # type: ignore[override]
        """As it says."""
        return self.relabelled

    def draw(self, shard: Shard, seeds: Sequence[int]) -> Episode:
        """Call the function for each seed."""
        del shard
        function = self.function
        made = import_named(function.replace(":", ".")) if isinstance(function, str) else function
        parts = [made(seed) for seed in seeds]
        return _stacked([support for support, _ in parts]), _stacked([query for _, query in parts])


def _stacked(batches: Sequence[Batch]) -> Batch:
    first = {name: column.shape for name, column in batches[0].items()}
    for batch in batches:
        other = {name: column.shape for name, column in batch.items()}
        if other != first:
            shapes = [{name: list(shape) for name, shape in each.items()} for each in (first, other)]
            raise DataError(f"FromFunction: episodes differ in shape, {shapes[0]} and {shapes[1]}; make them alike")
    return {name: torch.stack([batch[name] for batch in batches]) for name in first}
