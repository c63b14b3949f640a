"""Noise by a signal-to-noise ratio."""

import math

import numpy as np
import pytest
import torch

from raycollab.data import NoiseAtSNR
from raycollab.errors import ConfigError


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 20.0])
def test_the_ratio_is_that_of_each_row(decibels):
    """However loud a row is; of 20,000 samples the noise's power is known to within a percent."""
    waves = torch.sin(torch.arange(20_000.0) / 7).repeat(2, 1) * torch.tensor([[1.0], [0.01]])
    noisy = NoiseAtSNR(decibels).apply(waves, np.arange(2), 0)
    ratios = waves.square().mean(1) / (noisy - waves).square().mean(1)
    assert (10 * ratios.log10()).tolist() == pytest.approx([decibels] * 2, abs=0.15)


def test_noise_goes_by_row_and_seed():
    waves = torch.ones(3, 50)
    drawn = NoiseAtSNR(0.0).apply(waves, np.array([4, 2, 4]), 1)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, NoiseAtSNR(0.0).apply(waves, np.array([4, 2, 4]), 2))


def test_padding_is_no_signal():
    """A clip has as much noise as it has without the zeros behind it."""
    clip = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    padded = torch.cat([clip, torch.zeros(1, 4000)], 1)
    noise = NoiseAtSNR(0.0).apply(padded, np.array([0]), 0)[:, 4:]
    assert noise.square().mean().item() == pytest.approx(clip.square().mean().item(), rel=0.1)


def test_silence_stays_silent():
    assert torch.equal(NoiseAtSNR(-5.0).apply(torch.zeros(2, 10), np.arange(2), 0), torch.zeros(2, 10))


def test_a_ratio_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"NoiseAtSNR.decibels=nan: must be finite"):
        NoiseAtSNR(math.nan)
