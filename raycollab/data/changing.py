"""Data that changes while a run goes on: another source from some round on, or files that their party adds to."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raycollab.data.base import Opened, Source
from raycollab.data.columns import Columns
from raycollab.data.files import stamp_of
from raycollab.data.partition import Partition
from raycollab.data.table import Table
from raycollab.settings import require


@dataclass(frozen=True)
class Changing(Source):
    """One source after another: each but the first begins with a round, before its agent learns.

    Who opens it without a round, such as a check of the data, sees the first.

    Args:
        sources: What the data is, in order.
        at_rounds: The rounds with which the second and all later ones begin, ascending: one fewer than sources.
    """

    sources: tuple[Source, ...]
    at_rounds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("sources", "at_rounds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        given = all(isinstance(source, Source) for source in self.sources)
        require(bool(self.sources) and given, "Changing.sources", self.sources, "must be sources, one at least")
        later = len(self.sources) - 1
        ascending = list(self.at_rounds) == sorted(set(self.at_rounds)) and min(self.at_rounds, default=2) >= 2
        accepted = f"must be {later} ascending rounds >= 2, one for each source but the first"
        require(len(self.at_rounds) == later and ascending, "Changing.at_rounds", self.at_rounds, accepted)

    def at(self, round: int) -> Source:
        """The source of a round."""
        return self.sources[bisect_right(self.at_rounds, round)].at(round)

    def read(self) -> Columns:
        """Read the first source."""
        return self.sources[0].read()

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Open the first source."""
        return self.sources[0].open(rows)

    def keys(self, names: tuple[str, ...] | None) -> Columns:
        """Columns that rows of the first source are dealt out by."""
        return self.sources[0].keys(names)

    def origin(self, number: int) -> tuple[str, int]:
        """As of the first source."""
        return self.sources[0].origin(number)

    def tolerant(self) -> Source:
        """The same sources, with rows that cannot be read skipped."""
        return replace(self, sources=tuple(source.tolerant() for source in self.sources))

    def overlap(self) -> str:
        """As of the first source that says something."""
        return next((said for source in self.sources if (said := source.overlap())), "")

    def split(self, partition: Partition) -> Sequence[Source]:
        """Return one changing source per part; each of the sources is dealt out by itself."""
        parts = zip(*(source.split(partition) for source in self.sources), strict=True)
        return [replace(self, sources=each) for each in parts]

    def describe(self) -> str:
        """Return one short line for people."""
        later = [f"{s.describe()} from round {at}" for s, at in zip(self.sources[1:], self.at_rounds, strict=True)]
        return ", then ".join([self.sources[0].describe(), *later])


@dataclass(frozen=True)
class Growing(Source):
    """Files that their party adds to: they are looked at before every round, and read again if they have changed.

    A run on such files cannot be repeated to the same bits once they are others.

    Args:
        table: The files, such as `Parquet("folder")`.
        stamp: Size and time of change of all of them; set by `at`, not by hand.
    """

    table: Table
    stamp: str = ""

    def __post_init__(self) -> None:
        accepted = "must be a table of files, such as Parquet('folder')"
        require(isinstance(self.table, Table), "Growing.table", self.table, accepted)

    def at(self, round: int) -> Source:
        """The files as they are now."""
        del round
        return replace(self, stamp=stamp_of(self.table.path, self.table.suffixes))

    def read(self) -> Columns:
        """Read the files."""
        return self.table.read()

    def open(self, rows: np.ndarray | None = None) -> Opened:
        """Read the files; for some rows, they are kept until they change."""
        return self.table.open() if rows is None else super().open(rows)

    def origin(self, number: int) -> tuple[str, int]:
        """As of the files."""
        return self.table.origin(number)

    def tolerant(self) -> Source:
        """The same files, with rows that cannot be read skipped."""
        return replace(self, table=self.table.tolerant())

    def describe(self) -> str:
        """Return one short line for people."""
        return self.table.describe()
