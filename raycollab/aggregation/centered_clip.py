"""Centred clipping: updates pull at the last aggregate, none of them further than a given distance."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, distances_to
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update


@dataclass(frozen=True)
class CenteredClip(RowRule):
    """Starts at the last round's aggregate and moves by the mean of clipped differences to it, a few times.

    One bad update of k moves the result by at most num_iters * tau / k. It goes with agents that keep their momentum:
    then honest deltas differ less from round to round. Ignores weights: a weight is a claim an attacker can make.
    Other vectors, such as buffers, have no last aggregate; they are averaged with the updates' shares in the delta,
    scaled to sum to 1.

    Args:
        tau: Largest distance that counts in full, > 0.
        num_iters: Steps, >= 1.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, [d] of state, [k, k], and about three times
        `chunk_bytes`.
    Raises: ConfigError for settings out of range.
    Source: Karimireddy et al., ICML 2021, arXiv 2012.10333, Algorithm 2, over whole rounds' deltas in the place of
        momenta of gradients.
    """

    tau: float = 10.0
    num_iters: int = 3

    laws = frozenset({"failure"})
    formula = "repeat: v += mean_i (delta_i - v) min(1, tau / |delta_i - v|);  delta = v, the next round's first v"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.tau < math.inf, "CenteredClip.tau", self.tau, "must be > 0 and finite")
        require(self.num_iters >= 1, "CenteredClip.num_iters", self.num_iters, "must be >= 1")

    def init(self, params: Tensor) -> State:
        """A first centre of zero."""
        return {"centre": torch.zeros_like(params)}

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Find each update's share by its inner products as seen from the centre, and combine every vector."""
        del params, seed
        stack, centre = cast(Stack, total), state["centre"]
        discounts = torch.tensor([update.discount for update in stack.updates], dtype=torch.float64)
        shares = self._shares(self.rows(stack, DELTA).gram(centre), discounts / discounts.sum())
        scaled = shares / shares.sum()
        vectors = {name: self.rows(stack, name).combine(scaled) for name in stack.names() if name != DELTA}
        vectors[DELTA] = self.rows(stack, DELTA).combine(shares).add_(centre, alpha=1 - float(shares.sum()))
        return Update("", float(stack.count), vectors), {"centre": vectors[DELTA]}

    def _shares(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Share of every update in the result, float64 [k]; what is left of 1 is the share of the centre."""
        shares = torch.zeros_like(weights)
        for _ in range(self.num_iters):
            pulls = weights * (self.tau / distances_to(shares, gram)).clamp(max=1)
            shares = shares * (1 - pulls.sum()) + pulls
        return shares
