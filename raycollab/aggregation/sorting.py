"""Sort the columns of a matrix by a network of elementwise minima and maxima: no branches, only the ranks asked for."""

from functools import lru_cache

import torch
from torch import Tensor


def sorted_rows(block: Tensor, keep: range) -> list[Tensor]:
    """Some ranks of every column, smallest first: rank 0 holds each column's minimum.

    Args:
        block: Matrix without NaN; it is used up.
        keep: Which ranks, in 0 ... k - 1.
    Shapes: [k, c] -> one [c] a rank. Memory: one row beside the block.
    Source: Batcher, AFIPS 1968 (odd-even merging), in the form of Knuth, The Art of Computer Programming, volume 3,
        section 5.2.2, Algorithm M.
    """
    rows = list(block)
    spare = torch.empty_like(rows[0])
    for low, high in comparators(len(rows), keep):
        torch.minimum(rows[low], rows[high], out=spare)
        torch.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return [rows[rank] for rank in keep]


@lru_cache(maxsize=256)
def comparators(count: int, keep: range) -> tuple[tuple[int, int], ...]:
    """Pairs of places to be put in order, one after another, until the ranks in `keep` are right."""
    wanted, needed = set(keep), []
    for pair in reversed(_network(count)):
        if not wanted.isdisjoint(pair):
            wanted.update(pair)
            needed.append(pair)
    return tuple(reversed(needed))


def _network(count: int) -> list[tuple[int, int]]:
    """Batcher's network for all ranks."""
    powers = [2**i for i in reversed(range((count - 1).bit_length()))]
    pairs = []
    for index, power in enumerate(powers):
        for parity, distance in [(0, power), *((power, larger - power) for larger in powers[:index])]:
            pairs += [(i, i + distance) for i in range(count - distance) if i & power == parity]
    return pairs
