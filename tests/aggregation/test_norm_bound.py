import pytest
import torch

from raycollab.aggregation import Mean, NormBound, WeightedSum
from raycollab.errors import ConfigError

from .support import ROUND, delta, merged, randn, updates


def test_by_hand():
    """[6, 8] of norm 10 is scaled to [3, 4]; [0, 1] passes. With weights 1 and 3: ([3, 4] + 3 * [0, 1]) / 4."""
    found = delta(NormBound(5.0), [[6.0, 8.0], [0.0, 1.0]], weights=[1.0, 3.0])
    assert found.tolist() == pytest.approx([0.75, 1.75])


def test_a_bound_that_nobody_meets_is_the_mean():
    rows = randn(5, 20)
    torch.testing.assert_close(delta(NormBound(1e6), rows), delta(Mean(), rows))


@pytest.mark.parametrize("size", [1e6, 1e25, 1e34])
def test_one_of_ten_moves_it_by_at_most_a_tenth_of_the_bound(size):
    """Also where the square of its elements is beyond float32."""
    rows = torch.zeros(10, 30)
    rows[0] = size
    torch.testing.assert_close(delta(NormBound(2.0), rows).norm(), torch.tensor(0.2))
    assert float(delta(Mean(), rows).norm()) > size / 10  # the known-bad input


def test_only_a_sum_leaves_the_host_and_only_the_delta_is_clipped():
    some = updates([[3.0, 4.0]], buffers=[[300.0]])
    partial = NormBound(1.0).collect(some[0], ROUND)
    assert type(partial) is WeightedSum
    torch.testing.assert_close(partial.mean().vectors["delta"], torch.tensor([0.6, 0.8]))
    found, state = merged(NormBound(1.0), some)
    assert found.vectors["buffers"].tolist() == [300.0]
    assert state == {}
    assert some[0].vectors["delta"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_refuses(max_norm):
    with pytest.raises(ConfigError, match=rf"NormBound.max_norm={max_norm}: must be > 0"):
        NormBound(max_norm)


def test_refuses_no_bound_at_all():
    with pytest.raises(ConfigError, match=r"NormBound.max_norm=inf: must be > 0 and finite"):
        NormBound(float("inf"))
