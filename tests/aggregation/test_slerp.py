import math

import pytest
import torch

from raycollab.aggregation import Mean, Slerp, add_up
from raycollab.errors import UpdateError
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def merged(rows, weights=None, rule=None, **vectors):
    weights, rule = weights or [1.0] * len(rows), rule or Slerp()
    updates = [
        Update(str(i), weights[i], {"delta": torch.tensor(row), **{name: v[i] for name, v in vectors.items()}})
        for i, row in enumerate(rows)
    ]
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, torch.zeros(2), seed=0)[0].vectors


def slerp(a, b, share):
    """Shoemake's formula on whole vectors."""
    angle = math.acos(float(a @ b / (a.norm() * b.norm())))
    return (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)


def test_two_at_a_right_angle_by_hand():
    """Halfway is 45 degrees, at full length; with weights 1 to 2 the angle is 2/3 of 90. The mean would be shorter."""
    rows = [[2.0, 0.0], [0.0, 2.0]]
    torch.testing.assert_close(merged(rows)["delta"], torch.full((2,), math.sqrt(2.0)))
    torch.testing.assert_close(merged(rows, [1.0, 2.0])["delta"], torch.tensor([1.0, math.sqrt(3.0)]))
    assert float(merged(rows, rule=Mean())["delta"].norm()) == pytest.approx(math.sqrt(2.0))


@pytest.mark.parametrize("seed", range(3))
def test_more_are_folded_in_order(seed):
    rows = torch.randn(5, 30, generator=torch.Generator().manual_seed(seed)) + 0.3
    weights = [1.0, 4.0, 2.0, 0.5, 3.0]
    expected, weight = rows[0].double(), weights[0]
    for row, more in zip(rows[1:], weights[1:], strict=True):
        weight += more
        expected = slerp(expected, row.double(), more / weight)
    torch.testing.assert_close(merged(rows.tolist(), weights)["delta"], expected.float(), rtol=1e-4, atol=1e-5)
    backwards = merged(rows.flip(0).tolist(), weights[::-1])["delta"]
    assert not torch.allclose(backwards, expected.float(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0], [3.0, 0.01]], [2.5, 0.0075]),  # nearly parallel
        ([[1.0, 0.0], [-3.0, 0.0]], [-2.0, 0.0]),  # opposite
        ([[0.0, 0.0], [4.0, 4.0]], [3.0, 3.0]),
    ],
)
def test_where_there_is_no_arc_it_is_the_mean(rows, expected):
    torch.testing.assert_close(merged(rows, [1.0, 3.0])["delta"], torch.tensor(expected))


def test_a_weight_of_zero_turns_nothing():
    rows = [[1.0, 1.0], [1.0, 2.0], [9.0, -9.0]]
    torch.testing.assert_close(merged(rows, [1.0, 1.0, 0.0])["delta"], merged(rows[:2])["delta"])
    torch.testing.assert_close(merged(rows[::-1], [0.0, 1.0, 1.0])["delta"], merged(rows[1::-1])["delta"])
    with pytest.raises(UpdateError, match="the weights of 3 updates sum to 0"):
        merged(rows, [0.0, 0.0, 0.0])


def test_other_vectors_are_averaged_by_weight():
    found = merged([[1.0, 0.0], [0.0, 1.0]], [1.0, 3.0], buffers=torch.tensor([[0.0], [4.0]]))
    assert found["buffers"].tolist() == [3.0]
