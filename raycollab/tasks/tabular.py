"""Tasks for rows of a table: numbers, and names by their numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from raycollab.errors import DataError, RowError
from raycollab.models import Tabular
from raycollab.models.base import Model
from raycollab.tasks.classification import Classification
from raycollab.tasks.inputs import names_of
from raycollab.tasks.regression import Regression


@dataclass(frozen=True)
class TabularClassification(Classification):
    """Classification of rows of a table; `inputs` are the columns of numbers, then those of names, as Tabular's are."""

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError also for rows that do not fit the net: their width, or the number of a name.
        """
        good = super().check(columns, where)
        check_entries(self.net, self.inputs, columns, where)
        return good


@dataclass(frozen=True)
class TabularRegression(Regression):
    """Regression on rows of a table; `inputs` are the columns of numbers, then those of names, as Tabular's are."""

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from; bool [n].

        Raises: DataError also for rows that do not fit the net: their width, or the number of a name.
        """
        good = super().check(columns, where)
        check_entries(self.net, self.inputs, columns, where)
        return good


def check_entries(net: Model, inputs: str | tuple[str, ...], columns: Mapping[str, Tensor], where: str) -> None:
    """Raise DataError for rows that a Tabular net cannot be given; nothing is known of other nets."""
    if not isinstance(net, Tabular):
        return
    entries = list(_entries(inputs, columns))
    if len(entries) != net.num_inputs:
        raise DataError(
            f"{where}: inputs={inputs!r} hold {len(entries)} values a row, and the net takes numbers={net.numbers} and "
            f"{len(net.categories)} names; set them to what the columns hold"
        )
    for (name, codes), count in zip(entries[net.numbers :], net.categories, strict=True):
        bad = ~((codes >= 0) & (codes < count) & (codes == codes.round()))
        bad &= codes.isfinite()  # those are told apart before
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            what = (
                f" of {name} holds {codes[row].item():g}, and the net knows names 0..{count - 1} "
                f"({int(bad.sum())} such rows); read names with categories=, all of them, and give Tabular their number"
            )
            raise RowError.of(where, row, what)


def _entries(inputs: str | tuple[str, ...], columns: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Each value of a row, as the net is given it: what errors call it, and all rows' [n]."""
    for name in names_of(inputs):
        column = columns[name]
        if column.ndim == 1:
            yield f"column {name!r}", column
        else:
            for place, entry in enumerate(column.reshape(len(column), -1).unbind(1)):
                yield f"column {name!r}, entry {place},", entry
