"""Examples that are told apart from each other by what a net makes of them."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from raycollab.errors import DataError


def cosines(ones: Tensor, others: Tensor) -> Tensor:
    """Cosine of the angle between each of [a, p] and each of [b, p], in float32 under autocast, too [a, b]."""
    with torch.autocast(ones.device.type, enabled=False):
        return functional.normalize(ones.float(), dim=1) @ functional.normalize(others.float(), dim=1).T


def check_several(count: int, task: str, where: str) -> None:
    """Raise DataError if there is nothing to tell an example apart from."""
    if count < 2:
        raise DataError(
            f"{where}: {task} tells examples apart from each other, and there is only {count}: give more of them, a "
            f"batch_size >= 2, and drop_last=True where the last batch of a pass can be a single one"
        )


def groups(count: int, size: int) -> Iterator[slice]:
    """Rows in groups of this size, in order; the last may be smaller, and a single row is left out."""
    for start in range(0, count, size):
        if count - start > 1:
            yield slice(start, min(start + size, count))
