import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.transforms import GaussianNoise

DELTA = torch.ones(100_000)


def noise(std, seed=0):
    noisy, _ = GaussianNoise(std).update(DELTA, {}, DELTA, seed=seed)
    return noisy - DELTA


def test_mean_and_deviation():
    """Of n draws the mean is off by about std / sqrt(n), and the deviation by std / sqrt(2 n): four times those."""
    found = noise(2.0)
    assert abs(found.mean()) < 4 * 2.0 / 100_000**0.5
    assert found.std().item() == pytest.approx(2.0, abs=4 * 2.0 / 200_000**0.5)


def test_it_follows_its_seed():
    assert torch.equal(noise(2.0), noise(2.0))
    other = noise(2.0, seed=1)
    assert abs(torch.corrcoef(torch.stack([noise(2.0), other]))[0, 1]) < 0.02


def test_no_noise():
    assert torch.equal(noise(0.0), torch.zeros_like(DELTA))


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_refuses(std):
    with pytest.raises(ConfigError, match=rf"GaussianNoise\.std={std}: must be >= 0 and finite"):
        GaussianNoise(std)
