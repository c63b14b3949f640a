"""Toy: int8 with stochastic rounding on the wire."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import raycollab as rc
from raycollab.rng import numpy_generator

from .support import ONE_STEP, Training, digits, train, with_run


@dataclass(frozen=True)
class Int8(rc.Codec):
    """One scale per chunk of elements; rounded up with the probability that makes the mean right."""

    chunk: int = 256

    def encode(self, vector, *, seed):
        padded = np.zeros(-(-len(vector) // self.chunk) * self.chunk, np.float32)
        padded[: len(vector)] = vector.numpy()
        rows = padded.reshape(-1, self.chunk)
        scale = np.abs(rows).max(1, keepdims=True) / 127
        scaled = rows / np.where(scale == 0, 1, scale)
        noise = numpy_generator(seed, "int8").random(rows.shape, dtype=np.float32)
        return {
            "q": np.floor(scaled + noise).clip(-127, 127).astype(np.int8),
            "scale": scale,
            "d": np.array(len(vector)),
        }

    def decode(self, arrays):
        return torch.from_numpy((arrays["q"] * arrays["scale"]).reshape(-1)[: int(arrays["d"])].copy())


INT8 = {"upload": Int8(), "broadcast": Int8()}
LEARNER = rc.SGD(lr=0.3, momentum=0.5, epochs=3)


def test_int8_learns_as_float32_does_with_a_quarter_of_the_bytes():
    full = train(digits(LEARNER, rounds=5))
    small = train(digits(LEARNER, rounds=5, **INT8))
    assert abs(full.reports[-1].metrics["accuracy"] - small.reports[-1].metrics["accuracy"]) < 0.05
    assert full.reports[-1].metrics["accuracy"] > 0.5
    assert not torch.equal(full.params, small.params)
    assert 0.25 < small.reports[-1].bytes_up / full.reports[-1].bytes_up < 0.28
    assert 0.25 < small.reports[-1].bytes_down / full.reports[-1].bytes_down < 0.28


@pytest.mark.parametrize("num_hosts", [2, 8])
def test_hosts_change_no_bit_of_what_is_rounded(num_hosts):
    one = train(digits(ONE_STEP, **INT8, rounds=3))
    assert train(digits(ONE_STEP, **INT8, rounds=3), num_hosts=num_hosts).bits() == one.bits()


def test_rounding_follows_the_seed_and_is_right_on_average():
    vector = torch.randn(1000)
    codec = Int8()
    rounded = torch.stack([codec.decode(codec.encode(vector, seed=seed)) for seed in range(400)])
    assert torch.equal(rounded[3], codec.decode(codec.encode(vector, seed=3)))
    assert not torch.equal(rounded[3], rounded[4])
    step = float(vector.abs().max()) / 127  # a mean of 400 draws of a variable within one step: 6 standard deviations
    assert float((rounded.mean(0) - vector).abs().max()) < 6 * 0.5 * step / 20


def test_private_parts_and_states_are_not_rounded():
    """Only what crosses the wire is: an agent's own memory stays in float32."""
    experiment = digits(ONE_STEP, **INT8, exchange=rc.Exchange(exclude=("3.*",)), rounds=1)
    exact = digits(ONE_STEP, exchange=rc.Exchange(exclude=("3.*",)), rounds=1)
    assert (
        Training(with_run(experiment, seed=3)).finish().remembered("agent-0")["private"]["3.weight"].dtype
        == torch.float32
    )
    assert train(exact).reports[0].bytes_up > train(experiment).reports[0].bytes_up
