from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import GeometricMedian, Mean
from raycollab.errors import ConfigError, UpdateError

from .support import delta, merged, randn, updates

EXACT = GeometricMedian(num_iters=1000)


def weiszfeld(rows, weights, num_iters, smoothing=1e-6):
    """The steps as written, over the vectors themselves, from the mean of the shorter half of the weight."""
    rows, weights = rows.double(), torch.tensor(weights, dtype=torch.float64)
    half, point = weights.sum() / 2, torch.zeros(rows.shape[1], dtype=torch.float64)
    left = float(half)
    for i in rows.norm(dim=1).argsort(stable=True):
        point += min(float(weights[i]), left) / half * rows[i]
        left = max(0.0, left - float(weights[i]))
    for _ in range(num_iters):
        pulls = weights / (rows - point).norm(dim=1).clamp(min=smoothing)
        point = (pulls[:, None] * rows).sum(0) / pulls.sum()
    return point.float()


def test_of_a_triangle_by_hand():
    """All angles below 120 degrees: the Fermat point of (0,0), (2,0), (1,sqrt 3) is the centre (1, 1/sqrt 3)."""
    rows = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3**0.5]])
    torch.testing.assert_close(delta(EXACT, rows), torch.tensor([1.0, 3**-0.5]))


def test_one_step_by_hand():
    """At 0, 1, 5: the shorter half is 0 and half of 1, with mean 1/3. Distances 1/3, 2/3 and 14/3 give pulls 3, 1.5 and
    3/14, and (1.5 + 15/14) / (4.5 + 3/14) = 6/11.
    """
    found = delta(GeometricMedian(num_iters=1), [[0.0], [1.0], [5.0]])
    torch.testing.assert_close(found, torch.tensor([6 / 11]))


@pytest.mark.parametrize("num_iters", [1, 3, 8])
def test_agrees_with_steps_over_the_vectors(num_iters):
    """Tolerance: inner products in float32, whose error the square root of small differences widens."""
    rows, weights = randn(9, 400) + 2, [1.0, 4.0, 2.0, 1.0, 7.0, 3.0, 1.0, 1.0, 2.0]
    found = delta(GeometricMedian(num_iters, chunk_bytes=2**12), rows, weights=weights)
    torch.testing.assert_close(found, weiszfeld(rows, weights, num_iters), rtol=1e-4, atol=1e-5)


def test_the_sum_of_distances_is_least():
    rows = randn(7, 20)

    def cost(point):
        return float((rows - point).norm(dim=1).sum())

    best = cost(delta(EXACT, rows))
    assert best < cost(rows.mean(0)) - 1e-3
    assert all(cost(delta(EXACT, rows) + 0.1 * randn(20, seed=i)) > best for i in range(20))


@pytest.mark.parametrize("size", [1e6, 1e12, 1e30])
def test_updates_far_away_are_forgotten_in_a_few_steps(size):
    honest = 5 + randn(7, 50)
    rows = torch.cat([honest, torch.full((1, 50), size), torch.full((1, 50), -2 * size)])
    found = delta(GeometricMedian(), rows)
    assert float((found - honest.mean(0)).norm()) < 0.5 * float((honest[0] - honest.mean(0)).norm())
    assert float(delta(Mean(), rows).abs().min()) > size / 100  # the known-bad input


def test_free_riders_do_not_hold_it_at_zero():
    """Four of nine send exactly nothing: the start must not be the point that they stand on."""
    honest = 5 + randn(5, 50)
    found = delta(GeometricMedian(num_iters=30), torch.cat([honest, torch.zeros(4, 50)]))
    assert float(found.mean()) > 3


def test_weights_are_the_agents_or_uniform():
    rows = torch.tensor([[0.0], [1.0], [9.0]])
    heavy = [1.0, 1.0, 10.0]
    assert float(delta(EXACT, rows, weights=heavy)) == pytest.approx(9.0, abs=1e-3)  # more than half of the weight
    uniform = replace(EXACT, weights="uniform")
    assert float(delta(uniform, rows, weights=heavy)) == pytest.approx(1.0, abs=1e-3)
    assert uniform.laws == EXACT.laws - {"weights"}


def test_a_discount_shortens_the_weight():
    some = updates([[0.0], [1.0], [9.0]], weights=[1.0, 1.0, 10.0])
    some[2] = replace(some[2], discount=0.1)
    found, _ = merged(EXACT, some)
    assert float(found.vectors["delta"]) == pytest.approx(1.0, abs=1e-3)
    assert found.weight == 3.0


def test_other_vectors_get_the_same_shares():
    rows = randn(5, 6)
    found, state = merged(GeometricMedian(), updates(rows, buffers=rows[:, :2] + 1))
    torch.testing.assert_close(found.vectors["buffers"], found.vectors["delta"][:2] + 1)
    assert state == {}


def test_nobody_with_weight_took_part():
    with pytest.raises(
        UpdateError, match=r"GeometricMedian: the weights of 2 updates sum to 0: at least one must be pos"
    ):
        delta(GeometricMedian(), [[1.0], [2.0]], weights=[0.0, 0.0])
    assert delta(GeometricMedian(weights="uniform"), [[1.0], [1.0]], weights=[0.0, 0.0]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_iters": 0}, "GeometricMedian.num_iters=0: must be >= 1"),
        ({"smoothing": 0.0}, "GeometricMedian.smoothing=0.0: must be > 0"),
        ({"weights": "tokens"}, "GeometricMedian.weights='tokens': must be 'examples' or 'uniform'"),
        ({"chunk_bytes": 1}, "GeometricMedian.chunk_bytes=1: must be >= 4096"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        GeometricMedian(**settings)
