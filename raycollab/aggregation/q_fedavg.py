"""q-FedAvg: agents with larger losses pull harder."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial, Tree
from raycollab.aggregation.weighted_sum import Sum, WeightedSum
from raycollab.errors import UpdateError
from raycollab.norms import l2_norm
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update

_START_LOSS = "start_loss"
_SMALLEST = 1e-10  # of a loss, so that a power below zero of it is finite


@dataclass
class ScaledSum(WeightedSum):
    """A weighted sum whose weights are all exp(log_scale) times what it says: they may be of any size."""

    log_scale: float = -math.inf  # of nothing

    def __iadd__(self, other: Self) -> Self:
        """Add at the larger of both scales."""
        log_scale = max(self.log_scale, other.log_scale)
        return super(ScaledSum, self._at(log_scale)).__iadd__(other._at(log_scale))

    def __add__(self, other: Self) -> Self:
        """Add at the larger of both scales, in new tensors."""
        log_scale = max(self.log_scale, other.log_scale)
        return super().total((self._at(log_scale), other._at(log_scale))).worked_out()

    @classmethod
    def total(cls, tree: Tree) -> Self:
        """Pair by pair: each pair has a scale of its own."""
        return super(WeightedSum, cls).total(tree)

    def _at(self, log_scale: float) -> Self:
        """The same sum at a scale."""
        if log_scale == self.log_scale:
            return self
        factor = math.exp(self.log_scale - log_scale)
        vectors = {
            name: {segments: Sum(sum.weight * factor, sum.vector, sum.times * factor) for segments, sum in sums.items()}
            for name, sums in self.vectors.items()
        }
        scalars = {name: (weight * factor, value * factor) for name, (weight, value) in self.scalars.items()}
        return type(self)(self.count, self.weight * factor, vectors, scalars, log_scale)


@dataclass(frozen=True)
class QFedAvg(Aggregator):
    """Step on sum_k F_k^(q + 1) / (q + 1) by its estimated Lipschitz constant, where F_k is an agent's loss.

    Each delta is shortened to delta_k / (1 + q L |delta_k|^2 / F_k) and weighs h_k = L F_k^q + q L^2 F_k^(q - 1)
    |delta_k|^2, with L = 1 / lr: the paper's sum of Delta_k over the sum of h_k, written as a weighted mean, so that
    elements that only some agents hold, and buffers, are divided by what arrived for them. Agents count alike, however
    many examples they have. Sums are kept relative to the largest h, whatever its size. Learners send the loss by
    `StartLoss`. Ignores weights.

    Args:
        q: How fair, >= 0; 0 is the uniform mean.
        lr: Learning rate of the agents, > 0: 1 / lr estimates the Lipschitz constant of the gradient.
    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: UpdateError for a loss that is negative.
    Source: Li et al., ICLR 2020, arXiv 1905.10497, Algorithm 2.
    """

    q: float
    lr: float

    partial = ScaledSum
    weighs = False
    needs: ClassVar[tuple[str, ...]] = (_START_LOSS,)
    formula = "delta = sum_k L F_k^q delta_k / sum_k (L F_k^q + q L^2 F_k^(q-1) |delta_k|^2),  L = 1/lr"

    def __post_init__(self) -> None:
        require(0 <= self.q < math.inf, "QFedAvg.q", self.q, "must be >= 0 and finite; 0 is the uniform mean")
        accepted = "must be > 0 and finite; take the agents' learning rate"
        require(0 < self.lr < math.inf, "QFedAvg.lr", self.lr, accepted)

    @property
    def laws(self) -> frozenset[str]:
        """Those of the uniform mean for q = 0; longer deltas are shortened otherwise."""
        return frozenset({"failure", "identity"} if self.q == 0 else {"failure"})

    def collect(self, update: Update, round: Round) -> Partial:
        """The shortened delta with weight 1, at the scale h_k."""
        loss, lipschitz = update.scalars[_START_LOSS], 1 / self.lr
        if loss < 0:
            raise UpdateError(
                f"agent {update.agent!r} round {round.index}: start_loss {loss:.3g} is negative: "
                f"QFedAvg takes powers of losses, which must be >= 0"
            )
        loss = max(loss, _SMALLEST)
        longer = 1 + self.q * lipschitz * l2_norm(update.vectors[DELTA]) ** 2 / loss
        shorter = update.with_vectors(**{DELTA: update.vectors[DELTA] / longer})
        log_scale = math.log(lipschitz) + self.q * math.log(loss) + math.log(longer)
        return replace(ScaledSum.of(replace(shorter, weight=1.0)), log_scale=log_scale)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the h that arrived."""
        del params, seed
        return cast(WeightedSum, total).mean(), state
