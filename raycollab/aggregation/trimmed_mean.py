"""The coordinate-wise trimmed mean."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.sorting import sorted_rows
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.types import State, Update

_ROUNDING = 1e-9  # of a number of updates


@dataclass(frozen=True)
class TrimmedMean(RowRule):
    """Coordinate-wise mean after dropping the largest and smallest values.

    Tolerates up to int(trim * k) bad ones of k updates; a round needs so many that this is one at least. Ignores
    weights: a weight is a claim an attacker can make.

    Args:
        trim: Share of updates dropped at each end, in [0, 0.5); 0 is the plain mean.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates and about three times `chunk_bytes`.
    Raises: ConfigError if trim is outside [0, 0.5).
    Source: Yin et al., ICML 2018, arXiv 1803.01498, Definition 2.
    """

    trim: float

    formula = "delta_j = mean of delta_ij over i, without the int(trim * k) largest and smallest"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.trim < 0.5, "TrimmedMean.trim", self.trim, "must be in [0, 0.5); 0 is the plain mean")

    @property
    def min_updates(self) -> int:
        """Enough for one to be dropped at each end."""
        return math.ceil((1 - _ROUNDING) / self.trim) if self.trim else 1

    @property
    def laws(self) -> frozenset[str]:
        """Robust where something is dropped."""
        return frozenset({"failure", "identity"} | ({"robustness"} if self.trim else set()))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Take the trimmed mean of every element of every vector."""
        del params, seed
        stack = cast(Stack, total)
        vectors = {name: self.rows(stack, name).by_column(self._mean) for name in stack.names()}
        return Update("", float(stack.count), vectors), state

    def _mean(self, block: Tensor) -> Tensor:
        dropped = int(self.trim * len(block) + _ROUNDING)  # 0.29 * 100 is 28.999999999999996
        kept = sorted_rows(block, range(dropped, len(block) - dropped)) if dropped else list(block)
        total = torch.zeros_like(kept[0])
        for row in kept:
            total += row
        return total / len(kept)
