import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import Sign


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0.1, [0.1, -0.1, 0.0, -0.1]), (None, [2.0, -2.0, 0.0, -2.0])],  # (1 + 3 + 0 + 4) / 4 = 2
)
def test_by_hand(scale, expected):
    delta = torch.tensor([1.0, -3.0, 0.0, -4.0])
    found, state = Sign(scale).update(delta, {}, delta, seed=0)
    assert torch.equal(found, torch.tensor(expected))
    assert state == {}


def test_the_mean_keeps_the_length_in_the_sum_of_absolute_values():
    delta = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    found, _ = Sign().update(delta, {}, delta, seed=0)
    assert found.norm(1).item() == pytest.approx(delta.norm(1).item(), rel=1e-5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf")])
def test_refuses(scale):
    with pytest.raises(ConfigError, match=rf"Sign\.scale={scale}: must be > 0 and finite, or null for the mean"):
        Sign(scale)
