"""Laws of every codec in a run, both ways on the wire, and which bytes are counted where."""

import pytest
import torch

import raycollab as rc

from .rows import CODECS, instances, short
from .support import ONE_STEP, Training, digits, train

LEARNER = rc.SGD(lr=0.3, momentum=0.5, epochs=3)
each_codec = pytest.mark.parametrize("codec", instances(CODECS), ids=short)
LOSSY = [codec for codec in instances(CODECS) if not isinstance(codec, rc.Sparse)]


def both_ways(codec):
    return {"upload": codec, "broadcast": codec}


def case(codec, **settings):
    """Half of the agents in a round, momentum on agents and driver, transforms with memory left of the mean."""
    learner = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
    chain = (rc.TopK(0.3), rc.Mean(), rc.Momentum(0.5))
    settings = {"checkpoint": rc.CheckpointConfig(every=1000), **settings}
    run = {"agents_per_round": 5, "eval_every": 1000}
    return digits(learner, *chain, rounds=4, run=run, **both_ways(codec), **settings)


@pytest.fixture(scope="module")
def bits():
    """The bits of a case on one host, never stopped; each codec is run once."""
    known = {}

    def of(codec):
        if codec not in known:
            known[codec] = train(case(codec)).bits()
        return known[codec]

    return of


@each_codec
@pytest.mark.parametrize("num_hosts", [2, 8])
def test_hosts_change_no_bit(codec, num_hosts, bits):
    assert train(case(codec), num_hosts=num_hosts).bits() == bits(codec)


@each_codec
def test_restart(codec, bits):
    killed = Training(case(codec, checkpoint=rc.CheckpointConfig(every=2))).steps(3)
    assert Training(case(codec), folder=killed.folder).finish().bits() == bits(codec)


@each_codec
def test_what_is_lossless_changes_no_bit_and_what_is_lossy_does(codec, bits):
    assert (bits(codec) == bits(None)) == (codec not in LOSSY)


@pytest.mark.parametrize(
    ("codec", "share"), [(rc.BFloat16(), 0.5), (rc.Quantize(8), 0.25), (rc.Quantize(4, chunk=64), 0.14)], ids=repr
)
def test_learns_as_float32_does_with_a_share_of_the_bytes(codec, share):
    """What a 4-bit broadcast loses is noise on the model itself, so that the smallest codec goes up only."""
    ways = both_ways(codec) if share > 0.2 else {"upload": codec}
    full, small = (train(digits(LEARNER, rounds=5, **given), num_hosts=8) for given in ({}, ways))
    assert abs(full.reports[-1].metrics["accuracy"] - small.reports[-1].metrics["accuracy"]) < 0.05
    assert full.reports[-1].metrics["accuracy"] > 0.5
    assert not torch.equal(full.params, small.params)
    for way in ("bytes_up", "bytes_down"):
        found = getattr(small.reports[-1], way) / getattr(full.reports[-1], way)
        expected = share if way == "bytes_up" or "broadcast" in ways else 1.0
        assert 0.9 * expected < found < expected + 0.005


def test_sparse_deltas_take_as_many_bytes_as_they_have_elements():
    """One agent a host: 5 % of the elements at 8 bytes each, or 4 and a bit each for more than 1 in 32."""
    dense = train(digits(ONE_STEP, rc.TopK(0.05), rc.Mean(), rounds=2), num_hosts=8)
    small = train(digits(ONE_STEP, rc.TopK(0.05), rc.Mean(), rounds=2, upload=rc.Sparse()), num_hosts=8)
    assert torch.equal(dense.params, small.params)
    share = small.reports[-1].bytes_up / dense.reports[-1].bytes_up
    assert share == pytest.approx(0.05 + 1 / 32, rel=0.05)
    plain = train(digits(ONE_STEP, rounds=2, upload=rc.Sparse()))  # the known-bad input: only blank pixels are zeros
    assert plain.reports[-1].bytes_up > 5 * small.reports[-1].bytes_up


def test_the_agents_bytes_and_the_wires_are_counted_apart():
    """Of eight agents in four blocks on two hosts. An agent's update is its vectors in float32, whatever it is written
    with; what crosses is one encoded partial sum a block and one encoded round a host."""
    experiment = digits(ONE_STEP, rounds=1, run={"num_blocks": 4}, **both_ways(rc.Quantize(8)))
    training = Training(experiment, num_hosts=2)
    size = training.params.numel()
    row = training.finish().folder.rows()[0]
    assert [agent["bytes_sent"] for agent in row["agent_rows"]] == [4 * size] * 8
    chunks = -(-size // 256)
    encoded = size + 2 * chunks + 8
    assert row["bytes_up"] == 4 * encoded
    assert row["bytes_down"] == 2 * encoded


@pytest.mark.parametrize("codec", LOSSY, ids=short)
def test_private_parts_and_states_are_not_rounded(codec):
    """Only what crosses the wire is: with nothing lost on the way down, the first round's memory is exact."""
    settings = {"rounds": 1, "exchange": rc.Exchange(exclude=("3.*",))}
    learner = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2, batch_size=8)
    exact, small = train(digits(learner, **settings)), train(digits(learner, upload=codec, **settings))
    assert not torch.equal(exact.params, small.params)
    for name in exact.driver.plan.names:
        one, other = exact.remembered(name), small.remembered(name)
        assert torch.equal(one["private"]["3.weight"], other["private"]["3.weight"])
        assert torch.equal(one["learner"]["velocity"][0], other["learner"]["velocity"][0])
