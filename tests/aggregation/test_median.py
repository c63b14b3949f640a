import pytest
import torch

from raycollab.aggregation import Median, Stack, add_up
from raycollab.types import Round, Update

PARAMS = torch.zeros(2)
ROUND = Round(1, 0, 0, {"params": PARAMS})


def median(*rows, weights=None):
    rule = Median()
    updates = [
        Update(
            str(i),
            1.0 if weights is None else weights[i],
            {"delta": torch.tensor(row), "buffers": torch.tensor(row[:1])},
        )
        for i, row in enumerate(rows)
    ]
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, PARAMS, seed=0)[0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[5.0, 1.0]], [5.0, 1.0]),
        ([[5.0, 1.0], [1.0, 2.0]], [3.0, 1.5]),
        ([[5.0, 1.0], [1.0, 2.0], [2.0, 9.0]], [2.0, 2.0]),
        ([[5.0, 1.0], [1.0, 2.0], [2.0, 9.0], [3.0, 3.0]], [2.5, 2.5]),
    ],
)
def test_by_hand(rows, expected):
    update = median(*rows)
    assert update.vectors["delta"].tolist() == expected
    assert update.vectors["buffers"].tolist() == expected[:1]
    assert update.weight == len(rows)


def test_agrees_with_torch():
    rows = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(median(*rows.tolist()).vectors["delta"], rows.median(dim=0).values)


def test_weights_are_claims_and_ignored():
    rows = [[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]]
    assert torch.equal(median(*rows).vectors["delta"], median(*rows, weights=[1.0, 1.0, 1e9]).vectors["delta"])


def test_fewer_than_half_cannot_move_it_out_of_the_honest_range():
    honest = [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]
    moved = median(*honest, [1e30, 1e30], [1e30, -1e30]).vectors["delta"]
    assert 1.0 <= moved[0] <= 3.0
    assert -3.0 <= moved[1] <= -1.0


def test_says_that_it_needs_every_update():
    assert Median.partial is Stack
