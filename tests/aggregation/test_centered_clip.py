from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import CenteredClip
from raycollab.errors import ConfigError

from .support import delta, merged, randn, updates


def clipped(rows, tau, num_iters, centre):
    """Algorithm 2 as written, over the vectors themselves."""
    point = centre.double()
    for _ in range(num_iters):
        away = rows.double() - point
        point = point + (away * (tau / away.norm(dim=1, keepdim=True)).clamp(max=1)).mean(0)
    return point.float()


def test_by_hand():
    """From zero with tau 1: (1 + .5) / 2 = .75; then 10 is 9.25 away, clipped to 1, and .5 is -.25: .75 + .375."""
    rows = [[10.0], [0.5]]
    assert delta(CenteredClip(tau=1.0, num_iters=1), rows).tolist() == [0.75]
    torch.testing.assert_close(delta(CenteredClip(tau=1.0, num_iters=2), rows), torch.tensor([1.125]))


@pytest.mark.parametrize("tau", [0.1, 20.0, 1e6])
@pytest.mark.parametrize("num_iters", [1, 3, 10])
def test_agrees_with_steps_over_the_vectors_for_rounds(tau, num_iters):
    """The centre of each round is the aggregate before. Tolerance: inner products of 400 float32 elements."""
    rule, state, centre = CenteredClip(tau, num_iters, chunk_bytes=2**12), None, torch.zeros(400)
    for index in range(4):
        rows = 1 + randn(8, 400, seed=index)
        found, state = merged(rule, updates(rows), state=state)
        centre = clipped(rows, tau, num_iters, centre)
        torch.testing.assert_close(found.vectors["delta"], centre, rtol=1e-4, atol=1e-5)
        assert torch.equal(state["centre"], found.vectors["delta"])


def test_nothing_to_clip_is_the_mean():
    rows = randn(6, 30)
    torch.testing.assert_close(delta(CenteredClip(tau=1e3), rows), rows.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e12, 1e30])
def test_a_bad_update_moves_it_by_no_more_than_its_clipped_pull(size):
    """Two bad of ten: at most num_iters * tau * 2 / 10 from where the honest ones alone would bring it."""
    rows = randn(10, 100)
    rows[8:] = size
    found = delta(CenteredClip(tau=2.0, num_iters=3), rows)
    without = rows.clone()
    without[8:] = 0  # at the centre: no pull in the first step
    assert float((found - delta(CenteredClip(tau=2.0, num_iters=3), without)).norm()) < 3 * 2.0 * 2 / 10 * 2
    assert torch.isfinite(found).all()


def test_an_update_at_the_centre_pulls_nowhere():
    assert delta(CenteredClip(tau=1.0, num_iters=1), [[0.0, 0.0], [3.0, 4.0]]).tolist() == pytest.approx([0.3, 0.4])


def test_weights_are_ignored_and_discounts_are_not():
    some = updates([[0.0], [1.0]], weights=[1.0, 9.0])
    assert merged(CenteredClip(), some)[0].vectors["delta"].tolist() == [0.5]
    late = [some[0], replace(some[1], discount=1 / 3)]
    torch.testing.assert_close(merged(CenteredClip(), late)[0].vectors["delta"], torch.tensor([0.25]))


def test_other_vectors_are_averaged_with_the_shares_in_the_delta():
    """One step from zero with tau 1: deltas 4 and 1 get factors 1/4 and 1, so that shares are 1/8 and 1/2, or 1 : 4."""
    some = updates([[4.0], [1.0]], buffers=[[10.0, 0.0], [0.0, 10.0]])
    found, _ = merged(CenteredClip(tau=1.0, num_iters=1), some)
    assert found.vectors["delta"].tolist() == [1.0]
    torch.testing.assert_close(found.vectors["buffers"], torch.tensor([2.0, 8.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": 0.0}, "CenteredClip.tau=0.0: must be > 0"),
        ({"tau": float("nan")}, "CenteredClip.tau=nan: must be > 0"),
        ({"num_iters": 0}, "CenteredClip.num_iters=0: must be >= 1"),
        ({"chunk_bytes": 1}, "CenteredClip.chunk_bytes=1: must be >= 4096"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        CenteredClip(**settings)
