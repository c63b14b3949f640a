"""In-memory arrays: checked, equal by identity, cut before they are sent."""

import pickle

import numpy as np
import pytest
import torch

from raycollab.data import IID, Arrays
from raycollab.errors import DataError


def make(n: int = 10) -> Arrays:
    return Arrays({"x": np.arange(2.0 * n).reshape(n, 2), "label": torch.arange(n)})


def test_types():
    columns = {
        "double": np.zeros(2),
        "half": np.zeros(2, np.float16),
        "byte": np.zeros(2, np.uint8),
        "short": np.zeros(2, np.int16),
        "flag": np.array([True, False]),
        "tensor": torch.zeros(2, dtype=torch.float64),
    }
    held = {key: column.dtype for key, column in Arrays(columns).read().items()}
    assert held == {
        "double": torch.float32,
        "half": torch.float16,
        "byte": torch.uint8,
        "short": torch.int64,
        "flag": torch.int64,
        "tensor": torch.float64,
    }


def test_read_only_and_reversed_arrays():
    frozen = np.arange(4, dtype=np.float32)
    frozen.flags.writeable = False
    held = Arrays({"a": frozen, "b": np.arange(4)[::-1]}).read()
    assert held["a"].tolist() == [0, 1, 2, 3]
    assert held["b"].tolist() == [3, 2, 1, 0]


def test_equal_by_identity():
    one, other = make(), make()
    same = one
    assert one == same
    assert one != other
    assert len({one, other, same}) == 2


def test_pickles():
    again = pickle.loads(pickle.dumps(make()))
    assert torch.equal(again.read()["x"], make().read()["x"])
    assert again.describe() == "arrays (10 examples)"


def test_parts_are_disjoint_complete_and_carry_their_own_rows_only():
    parts = make(1000).split(IID(10, seed=1))
    assert sorted(i for part in parts for i in part.read()["label"].tolist()) == list(range(1000))
    assert len(pickle.dumps(parts[0])) < len(pickle.dumps(make(1000))) / 5
    assert parts[3].describe() == "arrays[3] (100 examples)"


def test_same_rows_as_any_other_source():
    rows = IID(3, seed=4).assign(make().read())
    assert [part.read()["label"].tolist() for part in make().split(IID(3, seed=4))] == [part.tolist() for part in rows]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "hospital: no columns"),
        ({"x": np.zeros((3, 2)), "label": np.zeros(2)}, "hospital: columns differ in length .*'x': 3, 'label': 2"),
        ({"x": np.array(["a", "b"])}, "hospital: column 'x' holds <U1; give numbers"),
        ({"x": np.array([None, 1])}, "hospital: column 'x' holds object; give numbers"),
        ({"x": np.float32(1)}, "hospital: column 'x' is one number"),
    ],
)
def test_refuses(columns, message):
    with pytest.raises(DataError, match=message):
        Arrays(columns, "hospital")
