"""The columns that a task's net is given, and which of their rows can be used."""

from collections.abc import Mapping

import torch
from torch import Tensor

from raycollab.errors import DataError, RowError
from raycollab.types import Batch


def names_of(inputs: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names of one column or several."""
    return (inputs,) if isinstance(inputs, str) else inputs


def taken(batch: Batch, inputs: str | tuple[str, ...]) -> Tensor:
    """One column as it is [b, ...], or several beside each other as floats [b, k], in the order of their names."""
    if isinstance(inputs, str):
        column: Tensor = batch[inputs]
        return column
    return torch.cat([batch[name].reshape(len(batch[name]), -1).float() for name in inputs], 1)


def check_names(columns: Mapping[str, Tensor], names: tuple[str, ...], where: str) -> None:
    """Raise DataError for a column that is not there."""
    for name in names:
        if name not in columns:
            raise DataError(f"{where}: the task needs column {name!r}; there are: {', '.join(sorted(columns))}")


def finite_rows(columns: Mapping[str, Tensor], names: tuple[str, ...], where: str, bad_rows: str) -> Tensor:
    """Rows without NaN and infinity in these columns: bool [n].

    Raises: RowError naming the first of the others, if `bad_rows` is "error".
    """
    good = torch.ones(len(columns[names[0]]), dtype=torch.bool, device=columns[names[0]].device)
    for name in names:
        if not columns[name].is_floating_point():
            continue
        finite = torch.isfinite(columns[name])[:, None].flatten(1).all(1)
        if bad_rows == "error" and not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            many = f"({int((~finite).sum())} such rows)"
            remedy = "clean the data, or set bad_rows='drop' to leave them out"
            raise RowError.of(where, row, f" of column {name!r} holds NaN or infinity {many}; {remedy}")
        good &= finite
    return good
