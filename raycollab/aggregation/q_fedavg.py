"""q-FedAvg: agents with larger losses pull harder."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator, Partial, WeightedSum
from raycollab.config import require
from raycollab.errors import UpdateError
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update

_START_LOSS = "start_loss"
_SMALLEST = 1e-10  # of a loss, so that a power below zero of it is finite
_LARGEST = 1e32  # of what is added to a sum: a million of these still add up in float32


@dataclass(frozen=True)
class QFedAvg(Aggregator):
    """Step on sum_k F_k^(q + 1) / (q + 1) by its estimated Lipschitz constant, where F_k is an agent's loss.

    Each delta is shortened to delta_k / (1 + q L |delta_k|^2 / F_k) and weighs h_k = L F_k^q + q L^2 F_k^(q - 1)
    |delta_k|^2, with L = 1 / lr: the paper's sum of Delta_k over the sum of h_k, written as a weighted mean, so that
    elements that only some agents hold, and buffers, are divided by what arrived for them. Agents count alike, however
    many examples they have. Learners send the loss by `StartLoss`. Ignores weights.

    Args:
        q: How fair, >= 0; 0 is the uniform mean.
        lr: Learning rate of the agents, > 0: 1 / lr estimates the Lipschitz constant of the gradient.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: UpdateError for a loss that is negative, and for one so large that its powers overflow.
    Source: Li et al., ICLR 2020, arXiv 1905.10497, Algorithm 2.
    """

    q: float
    lr: float

    needs: ClassVar[tuple[str, ...]] = (_START_LOSS,)
    formula = "delta = sum_k L F_k^q delta_k / sum_k (L F_k^q + q L^2 F_k^(q-1) |delta_k|^2),  L = 1/lr"

    def __post_init__(self) -> None:
        require(self.q >= 0, "QFedAvg.q", self.q, "must be >= 0; 0 is the uniform mean")
        require(self.lr > 0, "QFedAvg.lr", self.lr, "must be > 0; take the agents' learning rate")

    @property
    def laws(self) -> frozenset[str]:
        """Those of the uniform mean for q = 0; longer deltas are shortened otherwise."""
        return frozenset({"failure", "identity"} if self.q == 0 else {"failure"})

    def collect(self, update: Update, round: Round) -> Partial:
        """The shortened delta, times h_k."""
        loss, lipschitz = update.scalars[_START_LOSS], 1 / self.lr
        who = f"agent {update.agent!r} round {round.index}: start_loss {loss:.3g}"
        if loss < 0:
            raise UpdateError(f"{who} is negative: QFedAvg takes powers of losses, which must be >= 0")
        loss = max(loss, _SMALLEST)
        norm = float(torch.linalg.vector_norm(update.vectors[DELTA], dtype=torch.float64))
        longer = 1 + self.q * lipschitz * norm**2 / loss
        weight = lipschitz * loss**self.q * longer if loss < _LARGEST ** (1 / max(self.q, 1)) else _LARGEST
        if not weight * max(norm, 1.0) < _LARGEST:
            raise UpdateError(f"{who} with norm {norm:.3g} is kept out of the sum, which would overflow")
        shorter = update.with_vectors(**{DELTA: update.vectors[DELTA] / longer})
        return WeightedSum.of(replace(shorter, weight=weight))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the h that arrived."""
        del params, seed
        return cast(WeightedSum, total).mean(), state
