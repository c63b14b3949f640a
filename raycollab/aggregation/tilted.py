"""Weights tilted by the agents' losses."""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.types import WEIGHT_OF, State, Update

_START_LOSS = "start_loss"


@dataclass(frozen=True)
class Tilted(RowRule):
    """Mean by weight times exp(tilt * loss): a softmax over the losses, of temperature 1 / tilt.

    A tilt above 0 favours agents that the model serves badly, one below 0 leaves them out as outliers, and 0 is the
    mean. Learners send the loss of the model that they got by `StartLoss`; an agent can claim any. The weights stand in
    agents.parquet.

    Args:
        tilt: One over the temperature, in units of the loss; finite.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, about three times `chunk_bytes`.
    Source: TERM, Li et al., ICLR 2021, arXiv 2007.01162, Lemma 1, with an agent for an example and its delta in the
        place of a gradient.
    """

    tilt: float

    needs: ClassVar[tuple[str, ...]] = (_START_LOSS,)
    weighs = True
    laws = frozenset({"failure", "identity", "weights"})
    formula = "delta = sum_i s_i delta_i,  s_i = w_i exp(tilt * F_i) / sum_j w_j exp(tilt * F_j)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(math.isfinite(self.tilt), "Tilted.tilt", self.tilt, "must be finite")

    def check(self, total: Partial) -> None:
        """Somebody must have weight."""
        super().check(total)
        cast(Stack, total).shares()

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Tilt the weights, and combine every vector with them."""
        del params, seed
        stack = cast(Stack, total)
        losses = torch.tensor([update.scalars[_START_LOSS] for update in stack.updates], dtype=torch.float64)
        shares = (stack.shares().log() + self.tilt * losses).softmax(0)
        vectors = {name: self.rows(stack, name).combine(shares) for name in stack.names()}
        agents = [f"{WEIGHT_OF}{update.agent}" for update in stack.updates]
        return Update("", float(stack.count), vectors, dict(zip(agents, shares.tolist(), strict=True))), state
