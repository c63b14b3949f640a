"""The rows of a source that have one of some values in a column."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from raycollab.data.base import Opened, Source
from raycollab.data.columns import LABEL, Columns, take_rows
from raycollab.errors import DataError
from raycollab.settings import require


@dataclass(frozen=True)
class Only(Source):
    """Rows with some labels, or other whole numbers: `Only(source, (0, 1))` is one task of a sequence.

    Args:
        source: Where they are.
        values: Which of them.
        column: In which column.
    """

    source: Source
    values: tuple[int, ...]
    column: str = LABEL

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        require(bool(self.values), "Only.values", self.values, "must name a value at least")
        require(not self.source.overlap(), "Only.source", self.source, self.source.overlap())

    def read(self) -> Columns:
        """Read these rows."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read these rows, or some of them, and as little else as the source allows."""
        mine = self._mine()
        return self.source.open(mine if rows is None else mine[rows])

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that these rows are dealt out by."""
        return take_rows(self.source.keys(names), self._mine())

    def tolerant(self) -> Source:
        """The same, with rows that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(int(self._mine()[number]))

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.source.describe()}, {self.column} in {', '.join(map(str, self.values))}"

    def _mine(self) -> np.ndarray:
        columns = self.source.keys((self.column,))
        if self.column not in columns:
            there = ", ".join(sorted(columns))
            raise DataError(f"{self.source.describe()}: no column {self.column!r}; there are: {there}")
        chosen = torch.isin(columns[self.column], torch.tensor(self.values))
        if not bool(chosen.any()):
            raise DataError(f"{self.describe()}: no such rows")
        return np.flatnonzero(chosen.cpu().numpy())
