"""Labels of any dtype are taken, and what is no label is named; seen through Confusion."""

import math

import pytest
import torch

from raycollab.errors import DataError
from raycollab.metrics import Confusion


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float32, torch.bfloat16])
def test_labels_of_any_dtype(dtype):
    """Binary targets often come as bool or float."""
    labels = torch.tensor([0, 1, 1, 0])
    assert Confusion.of(labels.to(dtype), labels, 2) == Confusion.of(labels, labels, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Confusion.of(torch.tensor([0, 2]), torch.tensor([0, 1]), 2), DataError, r"targets\[1\]=2: .*0 to 1"),
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([-1]), 2), DataError, r"predictions\[0\]=-1"),
        (lambda: Confusion.of(torch.tensor([0.5]), torch.tensor([0]), 2), DataError, r"targets\[0\]=0\.5"),
        (lambda: Confusion.of(torch.tensor([math.nan]), torch.tensor([0]), 2), DataError, r"targets\[0\]=nan"),
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([0, 1]), 2), DataError, "equally long"),
        (lambda: Confusion.of(torch.zeros(2, 2), torch.zeros(2, 2), 2), DataError, "one-dimensional"),
    ],
)
def test_bad_input_is_named(call, error, message):
    """What was set, its value, and what is accepted."""
    with pytest.raises(error, match=message):
        call()
