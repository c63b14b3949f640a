"""Rows that can be used: opened, checked, and told by file and row where they are wrong."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from raycollab.data.base import Source
from raycollab.data.columns import Columns
from raycollab.data.origin import rows_named


@dataclass(frozen=True)
class Usable:
    """The rows of a source that can be used.

    Args:
        columns: Theirs.
        num_left_out: Rows beside them, that could not be read or were not accepted.
        count: Rows of both kinds.
    """

    columns: Columns
    num_left_out: int
    count: int

    def notes(self, what: str) -> list[str]:
        """A line on how many rows are left out; none if none is."""
        if not self.num_left_out:
            return []
        return [f"{what}: {self.num_left_out:,} of {self.count:,} rows cannot be used and are left out"]


def usable(source: Source, check: Callable[[Columns, str], Tensor], where: str) -> Usable:
    """Open a source and keep the rows that are accepted.

    Args:
        source: Where the rows are.
        check: Says which rows of columns are good [n]; a task's.
        where: What errors call it.
    Raises: DataError saying what is wrong and where: of a row, its file and its number there.
    """
    opened = source.open()
    with rows_named(source, opened):
        good = check(opened.columns, where)
    num_left_out = int((~good).sum())
    kept = {name: column[good] for name, column in opened.columns.items()} if num_left_out else dict(opened.columns)
    return Usable(kept, num_left_out + len(opened.skipped), len(good) + len(opened.skipped))
