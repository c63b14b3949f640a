"""Noise is normal, follows its key and address, and its key is a secret."""

import math

import pytest
import torch

import raycollab as rc
from raycollab.privacy import Noise, read_key

KEY = b"k" * 32


def test_noise_is_normal():
    """First four moments of 200,000 numbers, within four standard errors; and the largest is as large as it should."""
    count = 200_000
    drawn = Noise(KEY).normal(count, 1.0, "x")
    assert drawn.dtype == torch.float64
    assert abs(drawn.mean()) < 4 / math.sqrt(count)
    assert abs(drawn.var() - 1) < 4 * math.sqrt(2 / count)
    assert abs((drawn**3).mean()) < 4 * math.sqrt(15 / count)
    assert abs((drawn**4).mean() - 3) < 4 * math.sqrt(96 / count)
    assert 4 < drawn.abs().max() < 6
    assert abs(torch.corrcoef(torch.stack([drawn[:-1], drawn[1:]]))[0, 1]) < 4 / math.sqrt(count)
    half = count // 2  # the two halves come in pairs
    assert abs(torch.corrcoef(torch.stack([drawn[:half], drawn[half:]]))[0, 1]) < 4 / math.sqrt(half)


def test_noise_has_its_deviation():
    drawn = Noise(KEY).normal(50_000, 3.0, "x")
    assert abs(drawn.std() - 3.0) < 4 * 3.0 / math.sqrt(2 * 50_000)


def test_samples_have_their_rate_and_are_independent():
    noise, size, rate = Noise(KEY), 10_000, 0.05
    samples = [noise.sample(size, rate, index) for index in range(20)]
    sizes = torch.tensor([float(len(rows)) for rows in samples])
    assert abs(sizes.mean() - size * rate) < 4 * math.sqrt(size * rate * (1 - rate) / 20)
    assert len(set(sizes.tolist())) > 1  # not a fixed number
    twice = len(set(samples[0].tolist()) & set(samples[1].tolist()))
    assert abs(twice - size * rate**2) < 5 * math.sqrt(size * rate**2)
    assert all(bool((rows[1:] > rows[:-1]).all()) for rows in samples)
    assert len(noise.sample(size, 1.0, "all")) == size
    more = set(noise.sample(size, 2 * rate, 0).tolist())
    assert len(set(samples[0].tolist()) - more) > size * rate / 2  # another rate, another sample: not a larger one


def test_noise_follows_key_and_address():
    first = Noise(KEY).normal(5, 1.0, "a", 1, torch.ones(3))
    assert torch.equal(first, Noise(KEY).normal(5, 1.0, "a", 1, torch.ones(3)))
    others = [
        Noise(b"K" * 32).normal(5, 1.0, "a", 1, torch.ones(3)),
        Noise(KEY).normal(5, 1.0, "a", 2, torch.ones(3)),
        Noise(KEY).normal(5, 1.0, "a", "1", torch.ones(3)),
        Noise(KEY).normal(5, 1.0, "a1", torch.ones(3)),
        Noise(KEY).normal(5, 1.0, "a", 1, torch.tensor([1.0, 1.0, 1.0 + 2**-20])),
    ]
    assert not any(torch.allclose(first, other) for other in others)
    larger = Noise(KEY).normal(5, 2.0, "a", 1, torch.ones(3))
    assert not torch.allclose(first * 2, larger)  # or two answers of different noise would tell what it is added to
    assert torch.equal(Noise(KEY).normal(6, 1.0, "a")[:3], Noise(KEY).normal(5, 1.0, "a")[:3])


def test_keys_are_read_and_refused(tmp_path):
    key = tmp_path / "noise.key"
    with pytest.raises(rc.ConfigError, match=r"X.noise_key='.*': cannot be read: .*No such file.*head -c 32"):
        read_key(str(key), "X.noise_key")
    key.write_bytes(bytes(range(32)))
    key.chmod(0o644)
    with pytest.raises(rc.ConfigError, match=r"can be read by others \(mode 0644\): run `chmod 600"):
        read_key(str(key), "X.noise_key")
    key.chmod(0o600)
    assert read_key(str(key), "X.noise_key") == bytes(range(32))
    assert read_key("", "X.noise_key") == b""
    key.write_bytes(b"short")
    with pytest.raises(rc.ConfigError, match="holds 5 bytes, and needs 32"):
        read_key(str(key), "X.noise_key")
