"""Rules that compare updates: their vectors as the rows of a matrix that is never made as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.stack import Stack
from raycollab.errors import ModelError
from raycollab.settings import require
from raycollab.spec import Coverage

_MOST_COLUMNS = 2**15  # more would leave the cache, and torch would split each small operation over threads


@dataclass(frozen=True)
class Rows:
    """k vectors of one length, [k, d], that stay where they are: only slices of columns are copied side by side.

    Args:
        vectors: Each [d].
        chunk_bytes: Memory of one slice.
    """

    vectors: tuple[Tensor, ...]
    chunk_bytes: int = 2**24

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def size(self) -> int:
        """Length d of each row."""
        return self.vectors[0].numel()

    def slices(self) -> list[slice]:
        """Columns that are worked on together."""
        width = min(max(1, self.chunk_bytes // (4 * len(self))), _MOST_COLUMNS)
        return [slice(start, min(start + width, self.size)) for start in range(0, self.size, width)]

    def columns(self, place: slice) -> Tensor:
        """A slice of columns as a new matrix [k, c]."""
        return torch.stack([vector[place] for vector in self.vectors])

    def by_column(self, rule: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a rule [k, c] -> [c], which looks at each column by itself, to all columns: [d]."""
        merged = torch.empty(self.size)
        for place in self.slices():
            merged[place] = rule(self.columns(place))
        return merged

    def gram(self, origin: Tensor | None = None) -> Tensor:
        """Inner products of all pairs of rows, seen from `origin` [d] or from zero: float64 [k, k]."""
        total = torch.zeros(len(self), len(self), dtype=torch.float64)
        for place in self.slices():
            block = self.columns(place)
            total += _products(block if origin is None else block.sub_(origin[place]))
        return total

    def centred_gram(self, weights: Tensor | None = None) -> Tensor:
        """Inner products of all pairs of rows, seen from the mean of the shorter half of them: float64 [k, k].

        What rows have in common cannot drown how they differ, and neither can less than half of them by being long.
        The half and its mean go by `weights` [k], or count every row once.
        """
        weights = torch.ones(len(self)) if weights is None else weights.float()
        order = torch.stack([torch.linalg.vector_norm(vector) for vector in self.vectors]).argsort(stable=True)
        half, before = weights.sum() / 2, weights[order].cumsum(0) - weights[order]
        shares = torch.empty_like(weights)
        shares[order] = torch.minimum(weights[order], half - before).clamp(min=0) / half
        total = torch.zeros(len(self), len(self), dtype=torch.float64)
        for place in self.slices():
            block = self.columns(place)
            total += _products(block.sub_(shares @ block))
        return total

    def squared_distances(self) -> Tensor:
        """Squared distances of all pairs of rows: float64 [k, k], zero on the diagonal."""
        gram = self.centred_gram()
        gram = (gram + gram.T) / 2  # rounding must not decide between two rows that are each other's nearest
        norms = gram.diagonal()
        return (norms[:, None] + norms - 2 * gram).clamp(min=0).fill_diagonal_(0)

    def combine(self, shares: Tensor) -> Tensor:
        """The sum of share times row, [k] -> [d]; rows of share 0 are not read."""
        total = torch.zeros(self.size)
        for share, vector in zip(shares.tolist(), self.vectors, strict=True):
            if share:
                total.add_(vector, alpha=share)
        return total


def distances_to(shares: Tensor, gram: Tensor) -> Tensor:
    """Distance of every row from origin + sum_i share_i (row_i - origin), by the Gram matrix seen from there: [k]."""
    along = gram @ shares
    return (gram.diagonal() - 2 * along + shares @ along).clamp(min=0).sqrt()


def _products(block: Tensor) -> Tensor:
    """Inner products of all pairs of rows: float64 [k, k], also where squares are too large for float32."""
    products = (block @ block.T).double()
    if not torch.isfinite(products).all():
        block = block.double()
        products = block @ block.T
    return products


def check_whole(rule: Aggregator, coverage: Coverage) -> None:
    """Raise ModelError for an agent that holds only a part of the model."""
    if not coverage.full:
        raise ModelError(
            f"the agent exchanges only a part of the model, and {type(rule).__name__} merges whole vectors: exchange "
            f"all of it, take a rule that sums, such as Mean(), or put its part into a group of its own with PerGroup"
        )


@dataclass(frozen=True, kw_only=True)
class RowRule(Aggregator):
    """A rule over the updates themselves: hosts send every one of them, [k, d] in memory.

    Args:
        chunk_bytes: Memory that a rule takes beside the updates while it works, about three times this.
    """

    chunk_bytes: int = 2**24

    partial = Stack
    weighs = False

    def __post_init__(self) -> None:
        name = f"{type(self).__name__}.chunk_bytes"
        require(self.chunk_bytes >= 2**12, name, self.chunk_bytes, "must be >= 4096 bytes; 16 MiB is a good value")

    def check_coverage(self, coverage: Coverage) -> None:
        """Only whole vectors can be compared."""
        check_whole(self, coverage)

    def check(self, total: Partial) -> None:
        """Every update must hold whole vectors."""
        cast(Stack, total).check()

    def rows(self, total: Partial, name: str) -> Rows:
        """A vector of every update, by its name."""
        return Rows(cast(Stack, total).vectors(name), self.chunk_bytes)
