"""Columns: what every source gives, a dict of tensors whose first dimension counts the examples."""

import numpy as np
import torch

from raycollab.errors import DataError

Columns = dict[str, torch.Tensor]
LABEL = "label"
WEIGHT = "example_weight"  # how much a row counts, where rows do not all count alike


def count_rows(columns: Columns, name: str) -> int:
    """Return the number of examples.

    Args:
        columns: Tensors of one length.
        name: What an error calls them.

    Raises:
        DataError: There is no column, a column without a first dimension, or the lengths differ.
    """
    if not columns:
        raise DataError(f"{name}: no columns; give at least one tensor [n, ...]")
    scalars = [key for key, column in columns.items() if column.ndim == 0]
    if scalars:
        raise DataError(f"{name}: column {scalars[0]!r} is one number; every column needs a first dimension [n, ...]")
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{name}: columns differ in length {lengths}; every column needs one entry per example")
    return next(iter(lengths.values()))


def take_rows(columns: Columns, index: np.ndarray) -> Columns:
    """Return fresh columns with the rows of an index [k], in its order."""
    rows = torch.from_numpy(np.asarray(index, dtype=np.int64))
    return {key: column.index_select(0, rows) for key, column in columns.items()}


def grouping_column(columns: Columns, by: str, name: str) -> np.ndarray:
    """Return the column [n] that rows are grouped by, as numpy.

    Raises:
        DataError: It is missing, or holds more than one value per example.
    """
    if by not in columns:
        raise DataError(f"{name}: no column {by!r}; there are: {', '.join(sorted(columns))}")
    if columns[by].ndim != 1:
        shape = tuple(columns[by].shape)
        raise DataError(f"{name}: column {by!r} has shape {shape}; rows are grouped by one value per example [n]")
    return columns[by].cpu().numpy()
