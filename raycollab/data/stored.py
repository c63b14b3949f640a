"""Rows of a file as they stand in it, before anything becomes of their columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Stored:
    """Some rows of a file as they stand in it.

    Args:
        file: Its name.
        table: The rows.
        numbers: Their numbers in the file [n], from 0.
        skipped: What is wrong with rows of the file that are not there.
    """

    file: str
    table: pa.Table
    numbers: np.ndarray
    skipped: tuple[str, ...] = ()

    def take(self, places: np.ndarray) -> "Stored":
        """The rows at these places; what was skipped goes with the first row of all."""
        first = len(places) > 0 and places[0] == 0
        return Stored(self.file, self.table.take(places), self.numbers[places], self.skipped if first else ())


def taken(parts: Sequence[Stored], rows: np.ndarray) -> list[Stored]:
    """The rows of a sorted index over all parts."""
    starts = np.cumsum([0, *(part.table.num_rows for part in parts)])
    ends = np.searchsorted(rows, starts)
    return [part.take(rows[a:b] - start) for part, start, a, b in zip(parts, starts, ends[:-1], ends[1:], strict=False)]
