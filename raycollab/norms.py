"""The length of a vector."""

import math

import torch
from torch import Tensor

_PIECE = 2**20  # elements; a float32 sum of the squares of many more would be off by more than 1e-5 of it


def is_finite(vector: Tensor) -> bool:
    """Whether every element of [d] is; in one pass."""
    return math.isfinite(l2_norm(vector))


def l2_norm(vector: Tensor) -> float:
    """L2 norm of [d], also where squares are too large or small for float32; not finite only if an element is not."""
    norms = [torch.linalg.vector_norm(piece) for piece in vector.split(_PIECE)]
    norm = float(norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dtype=torch.float64))
    return norm if math.isfinite(norm) and norm else float(torch.linalg.vector_norm(vector, dtype=torch.float64))
