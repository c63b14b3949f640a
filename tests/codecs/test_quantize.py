import math

import numpy as np
import pytest
import torch

from raycollab.codecs import Quantize
from raycollab.errors import ConfigError, UpdateError
from raycollab.runtime.wire import ignore_read_only

EACH = pytest.mark.parametrize("codec", [Quantize(8), Quantize(4), Quantize(4, chunk=64)], ids=repr)


def crossed(codec, vector, seed=0):
    return codec.decode(codec.encode(vector, seed=seed))


def reference(codec, vector, seed):
    """The docstring's formula, chunk by chunk and in float64 but for the noise; scales are rounded up by steps."""
    largest = 2 ** (codec.bits - 1) - 1
    chunks = vector.numpy().astype(np.float64)
    chunks = np.pad(chunks, (0, -len(chunks) % codec.chunk)).reshape(-1, codec.chunk)
    noise = np.random.default_rng(seed).random(chunks.shape, dtype=np.float32)
    rows = []
    for chunk, u in zip(chunks, noise, strict=True):
        exact = abs(chunk).max() / largest
        scale = 2.0 ** (math.floor(math.log2(exact)) - 7) if exact else 1.0  # the step of bfloat16 at this size
        scale *= math.ceil(exact / scale)
        rows.append(np.floor(chunk / (scale or 1.0) + u) * scale)
    return torch.tensor(np.concatenate(rows)[: vector.numel()], dtype=torch.float32)


@EACH
@pytest.mark.parametrize("size", [1000, 1024, 70_000])
def test_agrees_with_plain_numpy(codec, size):
    """One in 10^5 may fall to the other side in float32, where noise is as near to a step as float32 resolves."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(size))
    differs = crossed(codec, vector, seed=5) != reference(codec, vector, seed=5)
    assert int(differs.sum()) <= 1


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
def test_whole_multiples_of_the_scale_by_hand(bits, largest):
    """A chunk whose largest magnitude is L has the scale 1: whole numbers cross as they are, whatever the seed."""
    vector = torch.tensor([float(largest), -float(largest), 0.0, 1.0, -1.0, 2.0])
    codec = Quantize(bits, chunk=6)
    arrays = codec.encode(vector, seed=3)
    assert torch.equal(codec.decode(arrays), vector)
    if bits == 8:
        assert arrays["codes"].tolist() == [127, -127, 0, 1, -1, 2]
    else:  # each plus 8, the first of two in the lower half: (15, 1), (8, 9), (7, 10)
        assert arrays["codes"].tolist() == [15 + 16 * 1, 8 + 16 * 9, 7 + 16 * 10]


@EACH
def test_the_error_is_below_the_scale_and_zero_stays_zero(codec):
    """The scale is at most 1 + 2^-7 times the chunk's largest magnitude over L."""
    vector = torch.randn(4096) * 10.0 ** torch.randint(-20, 20, (4096,))
    vector[::7] = 0.0
    found = crossed(codec, vector)
    rows = vector.view(-1, codec.chunk)
    scale = rows.abs().amax(1, keepdim=True) / (2 ** (codec.bits - 1) - 1) * (1 + 2.0**-7)
    assert ((found.view_as(rows) - rows).abs() <= scale).all()
    assert (found[::7] == 0).all()


@EACH
def test_right_on_average_and_by_its_seed(codec):
    """A mean of 400 draws, each of a variable within one step: 6 standard deviations of at most step / 2 / 20."""
    vector = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    rounded = torch.stack([crossed(codec, vector, seed) for seed in range(400)])
    assert torch.equal(rounded[3], crossed(codec, vector, 3))
    assert not torch.equal(rounded[3], rounded[4])
    step = float(vector.abs().max()) / (2 ** (codec.bits - 1) - 1) * (1 + 2.0**-7)
    assert float((rounded.mean(0) - vector).abs().max()) < 6 * step / 2 / 20


@pytest.mark.parametrize(
    ("codec", "share"), [(Quantize(8), 0.252), (Quantize(4), 0.127), (Quantize(4, chunk=64), 0.133)], ids=repr
)
def test_bytes(codec, share):
    arrays = codec.encode(torch.randn(100_000), seed=0)
    assert sum(array.nbytes for array in arrays.values()) / 400_000 == pytest.approx(share, abs=5e-4)


@EACH
@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_vectors_of_any_length(codec, size):
    """Of elements that are L steps of a scale of 1, so that nothing is rounded."""
    vector = torch.full((size,), 2.0 ** (codec.bits - 1) - 1)
    assert torch.equal(crossed(codec, vector), vector)


@pytest.mark.parametrize("value", [0.0, 1e-45, -1e-38, 3.4e38])
def test_numbers_at_the_ends_of_float32(value):
    found = crossed(Quantize(8), torch.full((256,), value))
    assert found.tolist() == pytest.approx([value] * 256, rel=0.01, abs=1e-38)


def test_read_only_arrays_are_decoded():
    arrays = Quantize(4).encode(torch.ones(1024), seed=0)
    for array in arrays.values():
        array.flags.writeable = False
    with ignore_read_only():  # as unpack does
        assert Quantize(4).decode(arrays).shape == (1024,)


@EACH
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_refuses_what_is_not_finite(codec, value):
    vector = torch.zeros(2000)
    vector[1500] = value
    with pytest.raises(UpdateError, match=r"Quantize\(.*\): 1 NaN or infinite of 2000 elements; they cannot be quant"):
        codec.encode(vector, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 2}, "Quantize.bits=2: must be 8 or 4"),
        ({"bits": 16}, "Quantize.bits=16: must be 8 or 4"),
        ({"chunk": 0}, "Quantize.chunk=0: must be even and >= 2"),
        ({"chunk": 33}, "Quantize.chunk=33: must be even and >= 2"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Quantize(**settings)
