"""What is counted of labels: by hand, and what is none of a task's."""

import math

import pytest
import torch

from raycollab.labels import OBJECTS, Labels, labels_of


def test_counts_by_hand():
    found = labels_of(torch.tensor([0, 2, 2, 3, -1]), 3)
    assert found == Labels((1, 0, 2), 2, strange="outside 0..2")
    assert [found.count(label) for label in (-1, 0, 1, 2, 3)] == [0, 1, 0, 2, 0]


def test_numbers_may_begin_elsewhere():
    found = labels_of(torch.tensor([1.0, 2.0, 2.0, 3.0]), 2, OBJECTS, first=1)
    assert found == Labels((1, 2), 1, OBJECTS, 1, "outside 1..2")
    assert [found.count(label) for label in (0, 1, 2, 3)] == [0, 1, 2, 0]


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, -math.inf])
def test_what_is_no_whole_number_is_unknown(value):
    assert labels_of(torch.tensor([1.0, value]), 3).unknown == 1


def test_labels_of_another_form_are_unknown_row_by_row():
    assert labels_of(torch.zeros(4, 2), 3) == Labels((0, 0, 0), 4, strange="outside 0..2")
    assert labels_of(torch.tensor([True, False, True]), 2).counts == (1, 2)
