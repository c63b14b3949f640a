"""Partitions: who holds which rows. Each is a value with its own seed, and cuts the same way on every machine."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from raycollab.data.columns import LABEL, Columns, count_rows, grouping_column
from raycollab.errors import DataError
from raycollab.rng import numpy_generator
from raycollab.settings import Settings, require

_MAX_DRAWS = 100


class Partition(Settings, ABC):
    """A rule that deals the rows of one data set out to `num_parts` parties.

    Laws: parts are disjoint and sorted, none is empty, and the same columns always give the same parts.
    """

    num_parts: int

    @property
    def keys(self) -> tuple[str, ...] | None:
        """The columns that `assign` looks at, so that no others need be read; None for all."""
        return None

    @abstractmethod
    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers [k] of each part, int64.

        Raises:
            DataError: These columns cannot be cut this way.
        """


@dataclass(frozen=True)
class IID(Partition):
    """Deals the rows out at random, in parts whose sizes differ by one at most."""

    num_parts: int
    seed: int = 0

    def __post_init__(self) -> None:
        _require_parts(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """No column: it counts rows."""
        return ()

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        n = _enough_rows(self, columns, self.num_parts)
        return _cut(_generator(self, self.seed).permutation(n), self.num_parts)


@dataclass(frozen=True)
class Dirichlet(Partition):
    """Label skew: every label is dealt out in proportions drawn from a symmetric Dirichlet distribution.

    Args:
        alpha: Concentration, > 0. 100 is close to IID, 0.1 leaves most parts with one or two labels.
        num_parts: Parties.
        by: Column that holds the labels.
        seed: Seed of the draw.
        min_examples: Proportions are drawn again, up to 100 times, until every part has this many rows.
    Source: The skew of Hsu et al., 2019, arXiv 1909.06335, section 2. They draw the mix of labels of each party;
        here the parties' share of each label is drawn (Yurochkin et al., 2019, arXiv 1905.12022), so that every
        row is dealt out exactly once.
    """

    alpha: float
    num_parts: int
    by: str = LABEL
    seed: int = 0
    min_examples: int = 2

    def __post_init__(self) -> None:
        _require_parts(self)
        require(
            0 < self.alpha < np.inf, "Dirichlet.alpha", self.alpha, "must be > 0; 0.1 is a strong skew, 100 almost none"
        )
        require(self.min_examples >= 1, "Dirichlet.min_examples", self.min_examples, "must be >= 1")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one that it goes by."""
        return (self.by,)

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        _enough_rows(self, columns, self.num_parts * self.min_examples)
        generator = _generator(self, self.seed)
        _, groups, counts = np.unique(
            grouping_column(columns, self.by, repr(self)), return_inverse=True, return_counts=True
        )
        sizes = _draw(
            self, lambda: _shares(generator, self.alpha, counts, self.num_parts), self.min_examples
        )  # [parts, labels]
        rows_of_label = [generator.permutation(np.flatnonzero(groups == label)) for label in range(len(counts))]
        pieces = [np.split(rows, np.cumsum(sizes[:-1, label])) for label, rows in enumerate(rows_of_label)]
        return [np.sort(np.concatenate(part)) for part in zip(*pieces, strict=True)]


@dataclass(frozen=True)
class DirichletSizes(Partition):
    """Quantity skew: parts are alike, but their sizes are drawn from a symmetric Dirichlet distribution.

    Args:
        alpha: Concentration, > 0. 100 gives almost equal sizes, 0.5 a few large parts and many small ones.
        num_parts: Parties.
        seed: Seed of the draw.
        min_examples: Sizes are drawn again, up to 100 times, until every part has this many rows.
    Source: Li et al., 2021, arXiv 2102.02079, section 4.3 (quantity skew).
    """

    alpha: float
    num_parts: int
    seed: int = 0
    min_examples: int = 2

    def __post_init__(self) -> None:
        _require_parts(self)
        require(
            0 < self.alpha < np.inf,
            "DirichletSizes.alpha",
            self.alpha,
            "must be > 0; 0.5 is a strong skew, 100 almost none",
        )
        require(self.min_examples >= 1, "DirichletSizes.min_examples", self.min_examples, "must be >= 1")

    @property
    def keys(self) -> tuple[str, ...]:
        """No column: it counts rows."""
        return ()

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        n = _enough_rows(self, columns, self.num_parts * self.min_examples)
        generator = _generator(self, self.seed)
        sizes = _draw(self, lambda: _shares(generator, self.alpha, np.array([n]), self.num_parts), self.min_examples)
        return [np.sort(rows) for rows in np.split(generator.permutation(n), np.cumsum(sizes[:-1, 0]))]


@dataclass(frozen=True)
class LabelShards(Partition):
    """Label skew by hand: rows are sorted by label, cut in equal pieces, and each part is dealt a few pieces.

    Args:
        num_parts: Parties.
        labels_per_part: Pieces per party; a piece that lies across a border holds two labels.
        by: Column that holds the labels.
        seed: Seed of the deal.
    Source: McMahan et al., 2017, arXiv 1602.05629, section 3 (the pathological non-IID partition).
    """

    num_parts: int
    labels_per_part: int = 2
    by: str = LABEL
    seed: int = 0

    def __post_init__(self) -> None:
        _require_parts(self)
        require(self.labels_per_part >= 1, "LabelShards.labels_per_part", self.labels_per_part, "must be >= 1")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one that it goes by."""
        return (self.by,)

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        num_pieces = self.num_parts * self.labels_per_part
        _enough_rows(self, columns, num_pieces)
        labels = grouping_column(columns, self.by, repr(self))
        pieces = _cut(np.argsort(labels, kind="stable"), num_pieces)
        deal = _generator(self, self.seed).permutation(num_pieces).reshape(self.num_parts, self.labels_per_part)
        return [np.sort(np.concatenate([pieces[i] for i in hand])) for hand in deal]


@dataclass(frozen=True)
class ByColumn(Partition):
    """One part per value of a column, such as a user, a hospital or a speaker.

    Args:
        column: Column that says whose row it is.
        values: The values that become parts, in order; rows with other values go to nobody.
    """

    column: str
    values: tuple[float | str, ...]
    num_parts: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "num_parts", len(self.values))
        require(len(self.values) >= 1, "ByColumn.values", self.values, "must hold at least one value")
        require(
            len(set(self.values)) == len(self.values), "ByColumn.values", self.values, "must differ from each other"
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The one that it goes by."""
        return (self.column,)

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        held = grouping_column(columns, self.column, repr(self))
        parts = [np.flatnonzero(held == value) for value in self.values]
        for value, rows in zip(self.values, parts, strict=True):
            if not len(rows):
                some = ", ".join(str(known) for known in np.unique(held)[:20])
                raise DataError(f"{self!r}: no row has {self.column}={value!r}; the column holds: {some}")
        return parts


@dataclass(frozen=True)
class Explicit(Partition):
    """The row numbers of every part, written out; rows that are not named go to nobody.

    Each agent is sent the whole list; for a large data set keep the party in a column and use ByColumn.
    """

    parts: tuple[tuple[int, ...], ...]
    num_parts: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(tuple(part) for part in self.parts))
        object.__setattr__(self, "num_parts", len(self.parts))
        require(len(self.parts) >= 1, "Explicit.parts", self.parts, "must hold at least one part")
        rows = [row for part in self.parts for row in part]
        require(all(self.parts), "len(Explicit.parts[...])", 0, "every part must name at least one row")
        require(min(rows) >= 0, "min(Explicit.parts)", min(rows), "row numbers start at 0")
        require(
            len(set(rows)) == len(rows),
            "Explicit.parts",
            f"<{len(rows) - len(set(rows))} rows twice>",
            "parts must be disjoint",
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """No column: it counts rows."""
        return ()

    def assign(self, columns: Columns) -> list[np.ndarray]:
        """Return the row numbers of each part."""
        n = count_rows(columns, "Explicit")
        last = max(max(part) for part in self.parts)
        if last >= n:
            raise DataError(
                f"Explicit(num_parts={self.num_parts}): names row {last}, but there are {n} examples (0 to {n - 1})"
            )
        return [np.sort(np.array(part, dtype=np.int64)) for part in self.parts]


def _require_parts(partition: Partition) -> None:
    require(partition.num_parts >= 1, f"{type(partition).__name__}.num_parts", partition.num_parts, "must be >= 1")


def _enough_rows(partition: Partition, columns: Columns, needed: int) -> int:
    n = count_rows(columns, repr(partition))
    if n < needed:
        raise DataError(f"{partition!r}: needs {needed} examples or more, there are {n}; use fewer parts or more data")
    return n


def _generator(partition: Partition, seed: int) -> np.random.Generator:
    return numpy_generator(seed, "partition", type(partition).__name__)


def _cut(rows: np.ndarray, num_parts: int) -> list[np.ndarray]:
    return [np.sort(part) for part in np.array_split(rows, num_parts)]


def _shares(generator: np.random.Generator, alpha: float, counts: np.ndarray, num_parts: int) -> np.ndarray:
    """Return how many of each label's rows every part gets, [parts, labels]; each label's column sums to its count."""
    proportions = generator.dirichlet(np.full(num_parts, alpha), size=len(counts))  # [labels, parts]
    ends = np.minimum(np.floor(np.cumsum(proportions, axis=1) * counts[:, None] + 0.5), counts[:, None])
    ends[:, -1] = counts
    sizes: np.ndarray = np.diff(ends, axis=1, prepend=0).astype(np.int64)
    return sizes.T


def _draw(partition: Partition, draw: Callable[[], np.ndarray], min_examples: int) -> np.ndarray:
    """Return the first draw [parts, labels] that gives every part its minimum."""
    for _ in range(_MAX_DRAWS):
        sizes = draw()
        if sizes.sum(axis=1).min() >= min_examples:
            return sizes
    raise DataError(
        f"{partition!r}: after {_MAX_DRAWS} draws a part still has fewer than min_examples={min_examples} examples; "
        "raise alpha, use fewer parts or lower min_examples"
    )
