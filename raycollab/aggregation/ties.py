"""TIES: trim, elect signs, and average what agrees."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update

_ROUNDING = 1e-12  # of a share times a length


@dataclass(frozen=True)
class Ties(RowRule):
    """Keeps the largest elements of each delta, elects a sign for each element, and averages those that have it.

    The sign is that of the sum of what was kept; where that is zero, so is the result. Of elements that are equally
    large and not all kept, those that stand first are. Ignores weights. Other vectors, such as buffers, are averaged.

    Args:
        density: Share of each delta's elements that is kept, in (0, 1]; at least one is.
        scale: Factor on the result, > 0.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, about 4 [d], and about three times `chunk_bytes`.
    Source: Yadav et al., NeurIPS 2023, arXiv 2306.01708, Algorithm 1, with a delta of the round for a task vector.
    """

    density: float = 0.2
    scale: float = 1.0

    formula = "delta_j = scale * mean of kept delta_ij of sign s_j,  s_j = sign(sum_i kept delta_ij)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.density <= 1, "Ties.density", self.density, "must be in (0, 1]; 1 keeps every element")
        require(0 < self.scale < math.inf, "Ties.scale", self.scale, "must be > 0 and finite")

    @property
    def laws(self) -> frozenset[str]:
        """Equal updates come back only untrimmed and unscaled."""
        same = self.density == 1 and self.scale == 1
        return frozenset({"failure", "identity"} if same else {"failure"})

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Find what each row keeps, then merge by columns."""
        del params, seed
        stack = cast(Stack, total)
        even = torch.full((stack.count,), 1 / stack.count, dtype=torch.float64)
        vectors = {name: self.rows(stack, name).combine(even) for name in stack.names() if name != DELTA}
        rows = self.rows(stack, DELTA)
        smallest, last = self._limits(rows)
        merged = torch.empty(rows.size)
        for place in rows.slices():
            block = rows.columns(place)
            size, position = block.abs(), torch.arange(place.start, place.stop)
            kept = (size > smallest) | ((size == smallest) & (position <= last))
            merged[place] = self.scale * _elected(torch.where(kept, block, 0.0))
        vectors[DELTA] = merged
        return Update("", float(stack.count), vectors), state

    def _limits(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Magnitude of the smallest element that each row keeps, and where the last one of that is kept: [k, 1] each.

        0.07 * 100 is 7.000000000000001, and keeps 7.
        """
        count = math.ceil(self.density * rows.size * (1 - _ROUNDING))
        limits = [_limit(row.abs(), count) for row in rows.vectors]
        smallest, last = zip(*limits, strict=True)
        return torch.stack(smallest)[:, None], torch.stack(last)[:, None]


def _limit(size: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Magnitude of the last of the `count` largest elements [d], and its place, the first of those of equal size."""
    smallest = size.kthvalue(size.numel() - count + 1).values
    as_large = (size == smallest).nonzero().flatten()
    return smallest, as_large[count - int((size > smallest).sum()) - 1]


def _elected(kept: Tensor) -> Tensor:
    """Mean of each column [k, c] over kept elements of the elected sign: [c]."""
    agreeing = torch.where(kept.sign() == kept.sum(0).sign(), kept, 0.0)
    return agreeing.sum(0) / agreeing.count_nonzero(0).clamp(min=1)
