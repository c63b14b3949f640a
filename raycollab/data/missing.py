"""Rows in which some columns count as absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from raycollab.data.base import Opened, Source
from raycollab.data.columns import Columns
from raycollab.errors import DataError
from raycollab.rng import derive_seed
from raycollab.settings import require


def presence_of(column: str) -> str:
    """Name of the column that says which rows have something in another one: bool or whole numbers 0 and 1 [n]."""
    return f"has_{column}"


@dataclass(frozen=True)
class Missing(Source):
    """A source of which some columns are missing in some rows, the same ones each time and whoever reads them.

    What is missing is filled with zeros, or -1 in columns of tokens, and a column `has_NAME` says where it is not.

    Args:
        source: What they are missing from.
        shares: Share of the rows in which each column is missing, in [0, 1].
        seed: Of which rows those are.
    """

    source: Source
    shares: Mapping[str, float] = field(hash=False)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            require(0 <= share <= 1, f"Missing.shares[{name!r}]", share, "must be in [0, 1]")

    def describe(self) -> str:
        """Return one short line for people."""
        less = ", ".join(f"{share:.0%} of {name!r}" for name, share in self.shares.items())
        return f"{self.source.describe()} without {less}"

    def read(self) -> Columns:
        """Read all rows."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all rows or those of an index, and take out what is missing.

        Raises: DataError for a column that is not there.
        """
        opened = self.source.open(rows)
        columns = dict(opened.columns)
        numbers = opened.numbers(rows)
        for name, share in self.shares.items():
            if name not in columns:
                known = ", ".join(sorted(columns))
                raise DataError(f"{self.source.describe()}: no column {name!r} to be missing; there are: {known}")
            there = torch.from_numpy(self._drawn(name, numbers) >= share)
            values = columns[name]
            nothing = 0 if values.is_floating_point() or values.ndim != 2 else -1
            columns[name] = values.masked_fill(~there.view(-1, *(1 for _ in values.shape[1:])), nothing)
            columns[presence_of(name)] = there
        return Opened(columns, opened.skipped, opened.kept)

    def _drawn(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """A number in [0, 1) for each row, by its number alone."""
        if not len(numbers):
            return np.zeros(0)
        generator = np.random.default_rng(derive_seed(self.seed, "missing", name))
        return generator.random(int(numbers.max()) + 1)[numbers]

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by, as they are in the source."""
        return self.source.keys(names)

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(number)

    def tolerant(self) -> Source:
        """The same, with rows that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def overlap(self) -> str:
        """As of the source."""
        return self.source.overlap()
