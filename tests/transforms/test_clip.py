import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import ClipNorm


def clip(values, max_norm):
    delta = torch.tensor(values)
    clipped, state = ClipNorm(max_norm).update(delta, {}, torch.zeros_like(delta), seed=0)
    assert delta.tolist() == torch.tensor(values).tolist()
    assert state == {}
    return clipped.tolist()


@pytest.mark.parametrize(
    ("values", "max_norm", "expected"),
    [
        ([3.0, 4.0], 5.0, [3.0, 4.0]),
        ([3.0, 4.0], 10.0, [3.0, 4.0]),
        ([3.0, 4.0], 2.5, [1.5, 2.0]),
        ([0.0, 0.0], 1.0, [0.0, 0.0]),
    ],
)
def test_by_hand(values, max_norm, expected):
    assert clip(values, max_norm) == expected


def test_the_direction_stays():
    delta = torch.randn(100, generator=torch.Generator().manual_seed(0))
    clipped, _ = ClipNorm(0.1).update(delta, {}, delta, seed=0)
    assert clipped.norm() == pytest.approx(0.1, rel=1e-5)
    assert torch.cosine_similarity(clipped, delta, dim=0) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_refuses(max_norm):
    with pytest.raises(ConfigError, match=f"ClipNorm.max_norm={max_norm}: must be > 0"):
        ClipNorm(max_norm)


@pytest.mark.parametrize("size", [1e19, 1e25, 1e37])
def test_squares_beyond_float32(size):
    assert clip([size] * 4, 1.0) == pytest.approx([0.5] * 4)


def test_refuses_no_bound_at_all():
    with pytest.raises(ConfigError, match=r"ClipNorm.max_norm=inf: must be > 0 and finite"):
        ClipNorm(float("inf"))
