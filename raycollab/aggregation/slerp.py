"""Spherical interpolation of updates."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule
from raycollab.aggregation.stack import Stack
from raycollab.spec import DELTA
from raycollab.types import State, Update

_PARALLEL = 0.9995  # of the cosine: beyond it the sine in the denominator is too small


@dataclass(frozen=True)
class Slerp(RowRule):
    """Turns from one delta towards the next along the arc between them, by weight: lengths survive, as in no mean.

    Of two deltas it is SLERP with the second's share of the weight. More are folded in the order of the agents: the
    merge so far, with the weight in it, and the next one; unlike a mean's, the result depends on that order. Deltas
    that are nearly parallel or opposite (cosine beyond 0.9995), or zero, are interpolated in a straight line. Other
    vectors, such as buffers, are averaged by weight.

    Shapes: updates of [d], k of them -> [d]. Memory: the updates, about three times `chunk_bytes`, and [k, k].
    Source: Shoemake, SIGGRAPH 1985, section 3.3, on vectors of any length, as mergekit does it (Goddard et al., 2024,
        arXiv 2403.13257).
    """

    laws = frozenset({"failure", "identity"})
    formula = "slerp(a, b, t) = sin((1-t) A) / sin A * a + sin(t A) / sin A * b,  A the angle between a and b"

    def check(self, total: Partial) -> None:
        """Somebody must have weight."""
        super().check(total)
        cast(Stack, total).shares()

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Fold the deltas; every step is a linear combination, so the Gram matrix says how much of each is in it."""
        del params, seed
        stack = cast(Stack, total)
        weights = stack.shares()
        vectors = {name: self.rows(stack, name).combine(weights) for name in stack.names() if name != DELTA}
        vectors[DELTA] = self.rows(stack, DELTA).combine(_folded(self.rows(stack, DELTA).gram(), weights))
        return Update("", float(stack.count), vectors), state


def _folded(gram: Tensor, weights: Tensor) -> Tensor:
    """How much of each vector is in the fold of all: [k]."""
    shares = torch.zeros_like(weights)
    weight = 0.0
    for index, more in enumerate(weights.tolist()):
        weight += more
        if not more:
            continue
        lengths = math.sqrt(max(float(shares @ gram @ shares), 0.0) * float(gram[index, index]))
        cosine = float(shares @ gram[index]) / lengths if lengths else 1.0
        kept, added = _slerp(cosine, more / weight)
        shares = shares * kept
        shares[index] = added
    return shares


def _slerp(cosine: float, share: float) -> tuple[float, float]:
    """Factors on two vectors."""
    if abs(cosine) > _PARALLEL:
        return 1 - share, share
    angle = math.acos(cosine)
    return math.sin((1 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)
