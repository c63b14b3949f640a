"""The length of a vector."""

import math

import torch
from torch import Tensor

from raycollab.vectors import by_slices

_PIECE = 2**20  # elements; a float32 sum of the squares of many more would be off by more than 1e-5 of it


def is_finite(vector: Tensor) -> bool:
    """Whether every element of [d] is; in one pass."""
    norms: list[Tensor] = []
    by_slices(vector.numel(), lambda place: norms.append(torch.linalg.vector_norm(vector[place])))
    return not norms or bool(torch.stack(norms).isfinite().all()) or math.isfinite(l2_norm(vector))


def l2_norm(vector: Tensor) -> float:
    """L2 norm of [d], also where squares are too large or small for float32; not finite only if an element is not."""
    if vector.numel() <= _PIECE:
        norm = float(torch.linalg.vector_norm(vector))
    else:
        norms = torch.stack([torch.linalg.vector_norm(piece) for piece in vector.split(_PIECE)])
        norm = float(torch.linalg.vector_norm(norms, dtype=torch.float64))
    return norm if math.isfinite(norm) and norm else float(torch.linalg.vector_norm(vector, dtype=torch.float64))
