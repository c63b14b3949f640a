"""Other labels for the same examples: the concept changes, the inputs stay."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from raycollab.data.base import Opened, Source
from raycollab.data.columns import LABEL, Columns
from raycollab.errors import DataError
from raycollab.settings import require


@dataclass(frozen=True)
class Relabelled(Source):
    """A source whose label y is labels[y]: for experiments in which what labels mean changes.

    Args:
        source: What is labelled anew.
        labels: The new label of each old one: `(1, 0, 2)` swaps the first two of three.
        column: Column of labels, whole numbers.
    """

    source: Source
    labels: tuple[int, ...]
    column: str = LABEL

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        good = bool(self.labels) and min(self.labels) >= 0
        require(good, "Relabelled.labels", self.labels, "must be labels >= 0, one for each label of the source")

    def read(self) -> Columns:
        """Read all rows under their new labels."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all rows or those of an index, under their new labels.

        Raises: DataError for a label that has no new one.
        """
        opened = self.source.open(rows)
        return replace(opened, columns=self._renamed(opened.columns))

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows are dealt out by, with the labels as they were: who holds what does not change."""
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

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.source.describe()} under other labels"

    def _renamed(self, columns: Columns) -> Columns:
        old = columns.get(self.column)
        if old is None or old.is_floating_point():
            there = ", ".join(sorted(columns))
            raise DataError(f"{self.source.describe()}: no column {self.column!r} of whole numbers; there are: {there}")
        if len(old) and not 0 <= int(old.min()) <= int(old.max()) < len(self.labels):
            raise DataError(
                f"{self.source.describe()}: labels {int(old.min())} to {int(old.max())}, and Relabelled.labels names "
                f"{len(self.labels)}; give a new label for each"
            )
        return {**columns, self.column: torch.tensor(self.labels, dtype=old.dtype)[old.long()]}
