"""Log-mel spectrograms, beside numpy's."""

import numpy as np
import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import CNN, LogMel, Sequential


def reference(wave, rate, mels, window, hop, normalize):
    """The definition in numpy, frame by frame and band by band, in float64."""
    points = 2 ** int(np.ceil(np.log2(window)))
    around = window - hop
    padded = np.pad(wave.astype(np.float64), (around // 2, around - around // 2))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bands = np.zeros((mels, len(wave) // hop))
    for frame in range(len(wave) // hop):
        power = np.abs(np.fft.rfft(padded[frame * hop : frame * hop + window] * hann, points)) ** 2
        for band in range(mels):
            low, middle, high = edges[band : band + 3]
            triangle = np.interp(np.fft.rfftfreq(points, 1 / rate), [low, middle, high], [0, 1, 0], left=0, right=0)
            bands[band, frame] = np.log(triangle @ power + 1e-4)
    return (bands - bands.mean()) / bands.std() if normalize else bands


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("window", "hop"), [(400, 200), (256, 100), (200, 200)])
def test_agrees_with_numpy(window, hop, normalize):
    rate = 8000
    wave = np.random.default_rng(0).normal(size=2050).astype(np.float32) * np.linspace(0, 1, 2050, dtype=np.float32)
    front = LogMel(rate, mels=20, window_s=window / rate, hop_s=hop / rate, normalize=normalize).build()
    found = front(torch.from_numpy(wave)[None])
    expected = reference(wave, rate, 20, window, hop, normalize)
    assert found.shape == (1, 1, 20, 2050 // hop)
    # Float32 against float64: the transforms differ by 1e-6 of the largest power, whose logarithms are compared.
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=2e-3)


def test_a_tone_is_where_it_belongs():
    """1,000 Hz is mel 1,000, of 2,146 up to 4,000 Hz: band 14.4 of 31 steps, counted from the first one's middle."""
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)
    loudest = LogMel(8000, mels=30).build()(tone[None])[0, 0].argmax(0)
    assert set(loudest[2:-2].tolist()) == {13}  # middles are at 69.2 mel (i + 1): i = 13 is at 969, 14 at 1,038


def test_how_loud_it_is_does_not_matter():
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    front = LogMel(8000, mels=16).build()
    torch.testing.assert_close(front(wave), front(10 * wave), atol=1e-3, rtol=0)  # but for what is added to the power
    assert LogMel(8000, mels=16, normalize=False).build()(10 * wave).mean() > front(wave).mean() + 1


def test_silence_is_a_number():
    assert LogMel(8000).build()(torch.zeros(1, 800)).abs().max() < 0.01  # rounding, over the smallest deviation


def test_bfloat16_around_it_changes_nothing():
    wave, front = torch.randn(1, 800), LogMel(8000, mels=16).build()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(front(wave), front(wave).float())


def test_in_front_of_a_net_for_images():
    net = Sequential([LogMel(8000, mels=16, hop_s=0.025), CNN(num_outputs=10, size=16, channels=(4,), hidden=8)])
    module = net.build()
    assert module(torch.randn(2, 3200)).shape == (2, 10)
    assert sorted(module.state_dict()) == sorted(f"1.{name}" for name in net.parts[1].build().state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "LogMel.rate=0: must be >= 1"),
        ({"mels": 0}, "LogMel.mels=0: must be >= 1"),
        ({"hop_s": 1e-5}, "LogMel.hop_s=1e-05: must hold a sample at least"),
        ({"window_s": 0.01}, "LogMel.window_s=0.01: must be >= hop_s=0.0125"),
        ({"low_hz": 5000.0}, r"LogMel.low_hz=5000.0: must be in \[0, 4000.0\)"),
        ({"high_hz": 5000.0}, "LogMel.high_hz=5000.0: must be <= 4000.0"),
        ({"mels": 128, "window_s": 0.0125}, "LogMel.mels=128: .* bands lie between two frequencies .* fewer bands"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        LogMel(**{"rate": 8000, **settings})


def test_a_sequence_is_of_models():
    for parts in ((), (LogMel(8000), torch.nn.ReLU())):
        with pytest.raises(ConfigError, match=r"Sequential.parts=.* must be recipes of models"):
            Sequential(parts)
