import pytest
import torch

import raycollab as rc
from raycollab.aggregation import Krum
from raycollab.aggregation.krum import krum_scores
from raycollab.errors import ConfigError

from ..contracts.support import ONE_STEP, Training, digits
from .support import delta, merged, randn, updates

# On a line at 0, 1, 3, 4, 9; with f = 1 each looks at its 5 - 1 - 2 = 2 nearest: scores 1 + 9 = 10, 1 + 4 = 5,
# 1 + 4 = 5, 1 + 9 = 10 and 25 + 36 = 61.
LINE = [[0.0], [1.0], [3.0], [4.0], [9.0]]


def test_scores_by_hand():
    places = torch.tensor(LINE, dtype=torch.float64)
    squares = (places - places.T).square()
    assert krum_scores(squares, 1).tolist() == [10.0, 5.0, 5.0, 10.0, 61.0]
    assert krum_scores(squares, 3).tolist() == [1.0, 1.0, 1.0, 1.0, 25.0]  # at least one neighbour


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Krum(f=1), 1.0),  # the first of two equal scores
        (Krum(f=1, num_selected=2), 2.0),
        (Krum(f=1, num_selected=4), 2.0),
        (Krum(f=1, num_selected=None), 2.0),  # all but one
        (Krum(f=1, num_selected=5), 3.4),
    ],
)
def test_by_hand(rule, expected):
    torch.testing.assert_close(delta(rule, LINE), torch.tensor([expected]))


@pytest.mark.parametrize("f", [0, 2, 4])
def test_agrees_with_all_pairs(f):
    """Blanchard's definition as written, one loop an update."""
    rows = randn(11, 700)
    scores = []
    for i in range(11):
        distances = sorted(float((rows[i].double() - rows[j].double()).square().sum()) for j in range(11) if j != i)
        scores.append(sum(distances[: 11 - f - 2]))
    best = sorted(range(11), key=scores.__getitem__)
    assert torch.equal(delta(Krum(f), rows), rows[best[0]])
    torch.testing.assert_close(delta(Krum(f, num_selected=3, chunk_bytes=2**12), rows), rows[best[:3]].mean(0))


@pytest.mark.parametrize("size", [1e6, 1e12, 1e30])
def test_a_long_update_does_not_hide_a_near_one(size):
    """Seven honest updates around one point, one very far away, and one only 30 away from them in every element."""
    honest = 5 + randn(7, 100)
    rows = torch.cat([torch.full((1, 100), size), honest + 0, honest[:1] + 30])
    found = delta(Krum(f=2), rows)
    assert any(torch.equal(found, row) for row in honest)
    chosen = delta(Krum(f=2, num_selected=None), rows)
    torch.testing.assert_close(chosen, honest.mean(0))
    assert float(delta(Krum(f=1, num_selected=None), rows).mean()) > 8  # the known-bad input: one bad one too many


def test_other_vectors_come_from_the_same_updates():
    found, state = merged(Krum(f=1, num_selected=2), updates(LINE, buffers=[[1.0], [10.0], [20.0], [5.0], [-9.0]]))
    assert found.vectors["buffers"].tolist() == [15.0]  # updates 1 and 2 have the best scores
    assert (found.weight, state) == (2.0, {})


def test_robust_only_where_it_tolerates_one():
    assert "robustness" in Krum(f=1).laws
    assert "robustness" not in Krum(f=0).laws


def test_weights_are_ignored():
    assert delta(Krum(f=1), LINE, weights=[1.0, 1.0, 1.0, 1.0, 1e9]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("rule", "needed"),
    [(Krum(f=0), 3), (Krum(f=5), 13), (Krum(f=5, num_selected=None), 13), (Krum(f=5, num_selected=20), 25)],
)
def test_says_how_many_it_needs(rule, needed):
    assert rule.min_updates == needed


def test_more_bad_ones_than_the_agents_bear_are_refused_before_the_run():
    with pytest.raises(ConfigError, match=r"Krum\(.*f=3.*\) needs 9 updates a round; .* of 8 agents brings 8: select"):
        Training(digits(ONE_STEP, rc.Krum(f=3)))
    assert Training(digits(ONE_STEP, rc.Krum(f=2), rounds=1)).finish().driver.version == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"f": -1}, "Krum.f=-1: must be a whole number >= 0 of bad updates"),
        ({"f": 1.5}, "Krum.f=1.5: must be a whole number"),
        ({"f": 1, "num_selected": 2.5}, "Krum.num_selected=2.5: must be a whole number or None"),
        ({"f": 1, "num_selected": 0}, "Krum.num_selected=0: must be >= 1 updates, or None for all but f"),
        ({"f": 1, "chunk_bytes": 1}, "Krum.chunk_bytes=1: must be >= 4096"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Krum(**settings)
