"""Rows that can be used, and how many others there are."""

import pytest
import torch

from raycollab.data import Arrays, Distorted, Holdout, Rescale, usable
from raycollab.errors import RowError

COLUMNS = {"features": torch.arange(8.0).reshape(4, 2), "label": torch.tensor([0, 1, 9, 1])}


def known(columns, where):
    del where
    return columns["label"] < 2


def test_rows_that_are_not_accepted_are_left_out_and_counted():
    found = usable(Arrays(COLUMNS), known, "south")
    assert found.columns["features"].tolist() == [[0.0, 1.0], [2.0, 3.0], [6.0, 7.0]]
    assert (found.num_left_out, found.count) == (1, 4)
    assert found.notes("south") == ["south: 1 of 4 rows cannot be used and are left out"]


def test_without_any_the_columns_are_those_of_the_source():
    columns = {name: column[:2] for name, column in COLUMNS.items()}
    found = usable(Arrays(columns), known, "south")
    assert found.columns["features"].data_ptr() == columns["features"].data_ptr()
    assert (found.num_left_out, found.count, found.notes("south")) == (0, 2, [])


def test_a_row_that_is_refused_is_told_by_its_place_in_the_source():
    source = Distorted(Holdout(Arrays(COLUMNS, "south"), "test", 0.5), (Rescale(2.0),), "features")
    (second,) = (row for row in (2, 3) if source.read()["features"][1, 0] == 2.0 * COLUMNS["features"][row, 0])

    def refuse(columns, where):
        raise RowError.of(where, 1, " is strange")

    with pytest.raises(RowError, match=rf"row {second} is strange"):
        usable(source, refuse, "here")
