"""Rows of two sources side by side, paired by their labels."""

from dataclasses import dataclass, replace

import numpy as np

from raycollab.data.base import Opened, Source
from raycollab.data.columns import LABEL, Columns, grouping_column, take_rows
from raycollab.errors import DataError
from raycollab.rng import numpy_generator


@dataclass(frozen=True)
class Paired(Source):
    """Each row of one source beside a row of another one that has the same label, the same pairs each time.

    All rows of the other source are used as often as each other, to within one, among those of a label. Pair training
    rows with training rows and test rows with test rows, or each party's own with its own.

    Args:
        source: Has as many rows as there are pairs, and gives the label.
        other: What stands beside them: its columns but for the label, which both have.
        seed: Of who is paired with whom.
    Raises: DataError for a label that the other source has no row of, or a column that both have.
    """

    source: Source
    other: Source
    seed: int = 0

    def describe(self) -> str:
        """Return one short line for people."""
        return f"{self.source.describe()} paired with {self.other.describe()}"

    def read(self) -> Columns:
        """Read all pairs."""
        return self.open().columns

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read all pairs or those of an index; a pair of which one half cannot be read is skipped."""
        opened = self.source.open(rows)
        partners = self._partners()[opened.numbers(rows)]
        beside = self.other.open(partners)
        columns = opened.columns
        kept = np.arange(len(partners)) if opened.kept is None else opened.kept
        if beside.kept is not None:
            columns, kept = take_rows(columns, beside.kept), kept[beside.kept]
        whole = opened.kept is None and beside.kept is None
        added = {name: column for name, column in beside.columns.items() if name != LABEL}
        twice = sorted(added.keys() & columns.keys())
        if twice:
            raise DataError(f"{self.describe()}: both have column {twice[0]!r}; leave it out of one with columns=")
        return Opened({**columns, **added}, (*opened.skipped, *beside.skipped), None if whole else kept)

    def _partners(self) -> np.ndarray:
        """The row of the other source that stands beside each row [n]."""
        labels, others = (
            grouping_column(each.keys((LABEL,)), LABEL, each.describe()) for each in (self.source, self.other)
        )
        generator = numpy_generator(self.seed, "pairs")
        partners = np.zeros(len(labels), np.int64)
        for label in np.unique(labels):
            mine, theirs = np.flatnonzero(labels == label), generator.permutation(np.flatnonzero(others == label))
            if not len(theirs):
                raise DataError(
                    f"{self.describe()}: the other source has no row of label {label}, and the first has {len(mine)}"
                )
            partners[generator.permutation(mine)] = np.resize(theirs, len(mine))
        return partners

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that pairs are dealt out by: those of the first source."""
        return self.source.keys(names)

    def origin(self, number: int) -> tuple[str, int]:
        """Where both halves of a pair stand."""
        file, row = self.source.origin(number)
        other, place = self.other.origin(int(self._partners()[number]))
        return f"{file}: row {row} beside {other}", place

    def tolerant(self) -> Source:
        """The same, with pairs that cannot be read skipped."""
        return replace(self, source=self.source.tolerant(), other=self.other.tolerant())

    def at(self, round: int) -> Source:
        """Both sides as they are in a round."""
        source, other = self.source.at(round), self.other.at(round)
        same = source is self.source and other is self.other
        return self if same else replace(self, source=source, other=other)

    def overlap(self) -> str:
        """As of the first source."""
        return self.source.overlap()
