import pytest
import torch

import raycollab as rc

from .support import one_round, rows


def test_by_hand():
    """Of (1, 2) and (3, -4) the mean is (2, -1); half of it backwards is (-1, 0.5)."""
    assert rc.attacks.InnerProduct(0.5).forge(rows([1, 2], [3, -4]), 1, 0).tolist() == [-1.0, 0.5]


def test_in_a_round():
    """Two of four send -s (a + b) / 2: the mean is (1 - s) (a + b) / 4, and nothing is learned with s = 1."""
    done, (a, b, *_) = one_round(rc.Attack("ipm", num_agents=2, strength=3.0), sizes=(3, 3, 3, 3))
    torch.testing.assert_close(done.params, -(a + b) / 2)
    still, _ = one_round(rc.Attack("ipm", num_agents=2, strength=1.0), sizes=(3, 3, 3, 3))
    torch.testing.assert_close(still.params, torch.zeros(4), atol=1e-7, rtol=0)


@pytest.mark.parametrize("strength", [0, float("inf")])
def test_refuses(strength):
    with pytest.raises(rc.ConfigError, match=rf"InnerProduct.strength={strength}: must be > 0 and finite"):
        rc.attacks.InnerProduct(strength)
