"""One side of a random split of a source."""

from dataclasses import dataclass, replace

import numpy as np

from raycollab.data.base import Opened, Source
from raycollab.data.columns import LABEL, Columns, take_rows
from raycollab.data.stratified import stratified_split
from raycollab.settings import require, require_one_of


@dataclass(frozen=True)
class Holdout(Source):
    """One side of a random split of a source: equal fractions and seeds make the two sides disjoint and complete.

    Args:
        source: What is split.
        keep: "train" or "test".
        fraction: Share of the rows that go to "test", in (0, 1), and of every label if labels are whole numbers.
        seed: Seed of the split.
    """

    source: Source
    keep: str
    fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        require_one_of("Holdout.keep", self.keep, ("train", "test"))
        require(
            0 < self.fraction < 1,
            "Holdout.fraction",
            self.fraction,
            "must be between 0 and 1; 0.2 keeps a fifth for 'test'",
        )
        require(not self.source.overlap(), "Holdout.source", self.source, self.source.overlap())

    def read(self) -> Columns:
        """Read the rows of this side."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read the rows of this side, or some of them, and as little else as the source allows."""
        mine = self._mine(self.source.keys((LABEL,)))
        return self.source.open(mine if rows is None else mine[rows])

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that the rows of this side are dealt out by."""
        mine = self._mine(self.source.keys((LABEL,)))
        return take_rows(self.source.keys(names), mine)

    def tolerant(self) -> Source:
        """The same side, with rows that cannot be read skipped."""
        return replace(self, source=self.source.tolerant())

    def origin(self, number: int) -> tuple[str, int]:
        """As of the source."""
        return self.source.origin(int(self._mine(self.source.keys((LABEL,)))[number]))

    def _mine(self, columns: Columns) -> np.ndarray:
        train, test = stratified_split(columns, self.fraction, self.seed, name=self.source.describe())
        return train if self.keep == "train" else test

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.source.describe()}, {self.keep} side of a {self.fraction:g} holdout"
