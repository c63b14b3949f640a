"""What an update must be like before it touches a sum."""

import math

import torch
from torch import Tensor

from raycollab.errors import UpdateError
from raycollab.norms import l2_norm
from raycollab.spec import BUFFERS, DELTA, ParamSpec
from raycollab.types import Round, Update

_LARGEST_NORM = 1e32  # of weight times vector: a million of these still add up in float32


def check_update(update: Update, spec: ParamSpec, round: Round) -> float:
    """Norm of the delta, NaN if there is none, after checking that nothing in the update can spoil a sum.

    Args:
        update: Of one agent, which it names.
        spec: What stands where in the agent's vectors.
        round: In which round.
    Raises: UpdateError for a weight, a scalar or a vector that is not finite or too large, or of another length.
    """
    who = f"agent {update.agent!r} round {round.index}"
    if not (math.isfinite(update.weight) and update.weight >= 0):
        raise UpdateError(f"{who}: weight {update.weight!r} is not a finite number >= 0")
    for name, value in update.scalars.items():
        if not math.isfinite(value):
            raise UpdateError(f"{who}: scalar {name!r} is {value!r}")
    norms = {name: _norm(name, vector, update.weight, spec, who) for name, vector in update.vectors.items()}
    return norms.get(DELTA, math.nan)


def _norm(name: str, vector: Tensor, weight: float, spec: ParamSpec, who: str) -> float:
    """L2 norm of a vector, after checking its length, that it is finite, and that its weighted sum can be."""
    expected = spec.num_buffers if name == BUFFERS else spec.num_params
    if vector.shape != (expected,):
        raise UpdateError(f"{who}: {name!r} has shape {list(vector.shape)}, expected [{expected}]")
    norm = l2_norm(vector)
    if not math.isfinite(norm):
        bad = int((~torch.isfinite(vector)).sum())
        raise UpdateError(
            f"{who}: {name!r} holds {bad} NaN or infinite of {vector.numel()} elements; it is kept out of the sum"
        )
    if norm * max(weight, 1.0) > _LARGEST_NORM:
        raise UpdateError(
            f"{who}: {name!r} has norm {norm:.3g} and weight {weight:g}; it is kept out of the sum, "
            f"which would overflow"
        )
    return norm
