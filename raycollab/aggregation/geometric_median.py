"""The smoothed geometric median (RFA)."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, distances_to
from raycollab.aggregation.stack import Stack
from raycollab.errors import UpdateError
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update


@dataclass(frozen=True)
class GeometricMedian(RowRule):
    """The point of least summed distance to the updates, by a few steps of Weiszfeld's algorithm.

    Tolerates bad updates of less than half of the weight. All points on the way are weighted means of the updates, so
    that they are followed through inner products alone. Distances are those of the deltas; other vectors, such as
    buffers, are averaged with the same shares.

    Args:
        num_iters: Steps, >= 1.
        smoothing: Smallest distance that counts, > 0: it keeps a step finite where a point meets an update.
        weights: "examples" weighs by what each agent reports, as the paper does; "uniform" trusts no claim.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, [k, k], and about three times `chunk_bytes`.
    Raises: ConfigError for settings out of range; UpdateError if all weights are zero.
    Source: RFA, Pillutla et al., 2022, arXiv 1912.13445, Algorithm 2 (smoothed Weiszfeld), which leaves the start open.
        Here it is the mean of the half of the weight with the shortest deltas: from the mean of all (the authors' code)
        updates far away take steps to forget, and at zero (Karimireddy et al., ICLR 2022) deltas of zero would hold it.
    """

    num_iters: int = 8
    smoothing: float = 1e-6
    weights: str = "examples"

    formula = "repeat: s_i = w_i / max(nu, |delta_i - z|), z = sum_i s_i delta_i / sum_i s_i;  delta = z"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_iters >= 1, "GeometricMedian.num_iters", self.num_iters, "must be >= 1")
        require(0 < self.smoothing < math.inf, "GeometricMedian.smoothing", self.smoothing, "must be > 0 and finite")
        accepted = "must be 'examples' or 'uniform'"
        require(self.weights in ("examples", "uniform"), "GeometricMedian.weights", self.weights, accepted)

    @property
    def laws(self) -> frozenset[str]:
        """Those of a median, and that weights count where it goes by what agents report."""
        return frozenset({"failure", "identity", "robustness"} | ({"weights"} if self.weights == "examples" else set()))

    def check(self, total: Partial) -> None:
        """Somebody must have weight."""
        super().check(total)
        self._weights(cast(Stack, total))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Find each update's share by the deltas, and combine every vector with them."""
        del params, seed
        stack = cast(Stack, total)
        weights = self._weights(stack)
        shares = self._shares(self.rows(stack, DELTA).centred_gram(weights), weights)
        vectors = {name: self.rows(stack, name).combine(shares) for name in stack.names()}
        return Update("", float(weights.sum()), vectors), state

    def _weights(self, stack: Stack) -> Tensor:
        claims = [update.weight if self.weights == "examples" else 1.0 for update in stack.updates]
        discounts = [update.discount for update in stack.updates]
        weights = torch.tensor(claims, dtype=torch.float64) * torch.tensor(discounts, dtype=torch.float64)
        if not weights.sum() > 0:
            raise UpdateError(
                f"GeometricMedian: the weights of {stack.count} updates sum to 0: at least one must be positive, "
                f"or take weights='uniform'"
            )
        return weights

    def _shares(self, gram: Tensor, weights: Tensor) -> Tensor:
        """Share of every update in the median, float64 [k], summing to 1; it starts from where `gram` looks from."""
        shares = torch.zeros_like(weights)
        for _ in range(self.num_iters):
            pulls = weights / distances_to(shares, gram).clamp(min=self.smoothing)
            shares = pulls / pulls.sum()
        return shares
