"""TIES: trim, elect signs, and average what agrees."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.stack import Stack
from raycollab.config import require
from raycollab.spec import DELTA
from raycollab.types import State, Update


@dataclass(frozen=True)
class Ties(RowRule):
    """Keeps the largest elements of each delta, elects a sign for each element, and averages those that have it.

    The sign is that of the sum of what was kept; where that is zero, so is the result. Elements as large as the
    smallest one kept are kept as well. Ignores weights. Other vectors, such as buffers, are averaged.

    Args:
        density: Share of each delta's elements that is kept, in (0, 1]; at least one is.
        scale: Factor on the result, > 0.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, [d], and about three times `chunk_bytes`.
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
        smallest = self._smallest_kept(rows)
        vectors[DELTA] = rows.by_column(lambda block: self.scale * _elected(block, smallest))
        return Update("", float(stack.count), vectors), state

    def _smallest_kept(self, rows: Rows) -> Tensor:
        """Magnitude of the smallest element that each row keeps: [k, 1]."""
        dropped = rows.size - math.ceil(self.density * rows.size)
        return torch.stack([row.abs().kthvalue(dropped + 1, keepdim=True).values for row in rows.vectors])


def _elected(block: Tensor, smallest: Tensor) -> Tensor:
    """Mean of each column [k, c] over kept elements of the elected sign: [c]."""
    kept = torch.where(block.abs() >= smallest, block, 0.0)
    agreeing = torch.where(kept.sign() == kept.sum(0).sign(), kept, 0.0)
    return agreeing.sum(0) / agreeing.count_nonzero(0).clamp(min=1)
