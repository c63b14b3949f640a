"""FedMGDA+: a step that hurts no agent."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.stack import Stack
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import State, Update

_TOLERANCE = 1e-6  # of slopes between unit vectors, whose inner products come from float32 columns
_EDGE = 1e-12  # a share this near to its limit is there
_MAX_STEPS = 100_000


@dataclass(frozen=True)
class FedMGDA(RowRule):
    """The shortest vector among mixtures of the deltas scaled to length 1: a direction that all agents have in common.

    With epsilon = 1 the inner product with each agent's direction is at least the squared length of the step, up to
    1e-6: to first order nobody's loss rises, and where that is impossible the step is zero. So an agent whose delta is
    zero, or two that are opposite, stop everybody; a smaller epsilon keeps the mixture near the weights. Other vectors,
    such as buffers, are mixed alike as they are.

    Args:
        epsilon: How far the share of an agent may go from its weight's, in [0, 1]; 0 is the mean of directions.
        lr: Length of a step on which all agents agree, > 0: lengths of deltas count for nothing.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, about three times `chunk_bytes`, and [k, k].
    Source: Hu et al., 2020, arXiv 2006.11489, Algorithm 1 with equation 8 (a ball in the maximum norm). The quadratic
        program is solved by moves between the pair of agents that gains most, to slopes of 1e-6.
    """

    epsilon: float = 1.0
    lr: float = 1.0

    formula = "delta = lr * sum_i s_i u_i, u_i = delta_i / |delta_i|, s = argmin |sum_i s_i u_i| within epsilon of p"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.epsilon <= 1, "FedMGDA.epsilon", self.epsilon, "must be in [0, 1]; 0 keeps the weights")
        require(0 < self.lr < math.inf, "FedMGDA.lr", self.lr, "must be > 0 and finite")

    @property
    def laws(self) -> frozenset[str]:
        """A copy counts as much as a weight where weights are kept, and as little where they limit nothing."""
        return frozenset({"failure", "weights"} if self.epsilon in (0, 1) else {"failure"})

    def check(self, total: Partial) -> None:
        """Somebody must have weight."""
        super().check(total)
        cast(Stack, total).shares()

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Find the mixture by the Gram matrix of the directions, and mix."""
        del params, seed
        stack = cast(Stack, total)
        gram = self.rows(stack, DELTA).gram()
        norms = gram.diagonal().sqrt()
        scale = torch.where(norms > 0, 1 / norms, 0.0)
        shares = shortest(gram * scale * scale[:, None], stack.shares(), self.epsilon)
        vectors = {name: self.rows(stack, name).combine(shares) for name in stack.names() if name != DELTA}
        vectors[DELTA] = self.rows(stack, DELTA).combine(self.lr * shares * scale)
        return Update("", float(stack.count), vectors), state


def shortest(gram: Tensor, start: Tensor, epsilon: float) -> Tensor:
    """Shares on the simplex, within epsilon of `start` [k], of the shortest mixture of vectors with this Gram matrix.

    Moves share from the agent with the steepest slope to the one with the least, as far as that gains, until slopes
    differ by no more than 1e-6; float64 [k, k] -> [k], the same bits for the same input.
    Source: sequential minimal optimization by the most violating pair, Keerthi et al., Neural Computation 2001.
    """
    products, shares = gram.numpy(), start.numpy().copy()
    low, high = np.maximum(shares - epsilon, 0.0), np.minimum(shares + epsilon, 1.0)
    slopes = products @ shares
    for _ in range(_MAX_STEPS):
        gains = int(np.argmin(np.where(shares < high - _EDGE, slopes, np.inf)))
        gives = int(np.argmax(np.where(shares > low + _EDGE, slopes, -np.inf)))
        steeper = slopes[gives] - slopes[gains]
        if not steeper > _TOLERANCE:
            break
        curvature = products[gains, gains] + products[gives, gives] - 2 * products[gains, gives]
        moved = min(steeper / max(curvature, _EDGE), high[gains] - shares[gains], shares[gives] - low[gives])
        shares[gains] += moved
        shares[gives] -= moved
        slopes += moved * (products[:, gains] - products[:, gives])
    return torch.from_numpy(shares)
