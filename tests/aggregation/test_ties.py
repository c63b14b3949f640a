import math

import pytest
import torch

from raycollab.aggregation import Ties, add_up
from raycollab.errors import ConfigError
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def merged(rule, rows, weights=None, **vectors):
    updates = [
        Update(str(i), weights[i] if weights else 1.0, {"delta": row, **{name: v[i] for name, v in vectors.items()}})
        for i, row in enumerate(rows)
    ]
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, torch.zeros(2), seed=0)[0].vectors


def test_by_hand():
    """Half of four elements are kept: [3, -1, 0, 0], [-2, -4, 0, 0], [0, 0, 5, 2]; the first column's sum is 1, the
    second's -5; whoever has these signs is averaged: 3, (-1 - 4) / 2, 5, 2. Weights count for nothing."""
    rows = torch.tensor([[3.0, -1.0, 0.5, 0.1], [-2.0, -4.0, 0.2, 1.0], [0.1, -0.2, 5.0, 2.0]])
    assert merged(Ties(0.5), rows)["delta"].tolist() == [3.0, -2.5, 5.0, 2.0]
    assert merged(Ties(0.5, scale=2.0), rows, [9.0, 1.0, 1.0])["delta"].tolist() == [6.0, -5.0, 10.0, 4.0]


def reference(rows, density):
    """Trim, elect and merge, one row and one column at a time."""
    kept = torch.zeros_like(rows)
    for row, to in zip(rows, kept, strict=True):
        best = sorted(range(len(row)), key=lambda j: -abs(float(row[j])))[: math.ceil(density * len(row))]
        to[best] = row[best]
    columns = []
    for column in kept.T:
        sign = float(column.sum().sign())
        agreeing = [float(x) for x in column if x and math.copysign(1, x) == sign]
        columns.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return torch.tensor(columns)


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("chunk_bytes", [2**12, 2**24])
def test_agrees_with_the_algorithm(density, chunk_bytes):
    rows = torch.randn(7, 400, generator=torch.Generator().manual_seed(0))
    found = merged(Ties(density, chunk_bytes=chunk_bytes), rows)["delta"]
    torch.testing.assert_close(found, reference(rows, density))


def test_equal_updates_come_back_untrimmed_and_unscaled_only():
    rows = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).expand(4, -1)
    for rule in (Ties(1.0), Ties(0.5), Ties(1.0, scale=2.0)):
        assert torch.allclose(merged(rule, rows)["delta"], rows[0]) == ("identity" in rule.laws)


def test_signs_that_cancel_leave_zero():
    rows = torch.tensor([[2.0, 1.0], [-2.0, 3.0]])
    assert merged(Ties(1.0), rows)["delta"].tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("density", "kept"), [(0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_of_equal_magnitudes_the_first_are_kept(density, kept):
    """Also where the last of them stands in another slice of columns, and where all that is left is zero."""
    rows = torch.tensor([[1.0, -1.0, 1.0, 0.5]])
    assert merged(Ties(density), rows)["delta"].tolist() == [1.0, -1.0, 1.0, 0.5][:kept] + [0.0] * (4 - kept)
    wide = torch.ones(2, 4000)
    found = merged(Ties(density, chunk_bytes=2**12), wide)["delta"]
    assert found.tolist() == [1.0] * 1000 * kept + [0.0] * (4000 - 1000 * kept)
    assert not merged(Ties(density), torch.zeros(2, 8))["delta"].any()


@pytest.mark.parametrize("density", [0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57])
def test_as_many_are_kept_as_the_share_says(density):
    """0.07 * 100 is 7.000000000000001: still seven."""
    row = torch.arange(1.0, 101.0)[None]
    assert int(merged(Ties(density), row)["delta"].count_nonzero()) == round(density * 100)


def test_other_vectors_are_averaged():
    buffers = torch.tensor([[0.0], [4.0]])
    assert merged(Ties(), torch.eye(2), [1.0, 3.0], buffers=buffers)["buffers"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"density": 0.0}, r"Ties\.density=0\.0: must be in \(0, 1\]; 1 keeps every element"),
        ({"density": 1.1}, r"Ties\.density=1\.1: must be in \(0, 1\]"),
        ({"scale": 0.0}, r"Ties\.scale=0\.0: must be > 0"),
        ({"chunk_bytes": 1}, r"Ties\.chunk_bytes=1: must be >= 4096"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Ties(**settings)
