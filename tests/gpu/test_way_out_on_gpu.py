"""Vectors that leave a GPU while it computes on: the same bits, in pinned memory, for each kind of partial."""

import hashlib
import threading
import time
from pathlib import Path

import pytest
import ray
import torch

import raycollab as rc
from benchmarks.transfers import COPIES, Prepared
from raycollab.runtime.way_out import WayOut

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is False"),
]
RULES = {
    "averaged on the device": rc.Mean(),
    "kept": rc.Median(),
    "added on the CPU": rc.Mean(exact=True),
    "several": rc.PerGroup({"0.*": rc.Median(), "*": rc.Mean()}),
}
_CYCLES = 200_000_000  # a tenth of a second


def warmed(way, size):
    """Have pinned memory at hand, so that a copy begins before what it waits for is done."""
    way.begin([torch.zeros(size, device="cuda:0") for _ in range(8)])
    way.arrival()()
    torch.cuda.synchronize()


def test_copies_have_the_bits_of_what_was_computed_before():
    """Though that takes a while, the memory is given back at once, and what comes next is written into it."""
    way, size, tree = WayOut("cuda:0"), 2**20, []
    warmed(way, size)
    for seed in range(8):
        vector = torch.zeros(size, device="cuda:0")
        torch.cuda._sleep(_CYCLES)
        vector.add_(float(seed + 1))
        tree.append(way.begin({"delta": vector, "name": "a"}))
        del vector
        torch.full((size,), -1.0, device="cuda:0")
    way.arrival()()
    assert all(each["delta"].is_pinned() for each in tree)
    assert [each["delta"].unique().tolist() for each in tree] == [[seed + 1.0] for seed in range(8)]


def test_steps_go_on_beside_copies():
    """What begins does not wait for what is computed; whoever asks for its arrival does."""
    way = WayOut("cuda:0")
    warmed(way, 2**20)
    started = time.perf_counter()
    torch.cuda._sleep(10 * _CYCLES)
    begun = way.begin(torch.ones(2**20, device="cuda:0"))
    arrived = way.arrival()
    launched = time.perf_counter() - started
    arrived()
    assert launched < 0.5 * (time.perf_counter() - started)
    assert begun.eq(1).all()


def test_any_thread_may_wait():
    way = WayOut("cuda:0")
    begun = way.begin(torch.ones(2**24, device="cuda:0").cumsum(0, dtype=torch.float64))
    waiting = threading.Thread(target=way.arrival())
    waiting.start()
    waiting.join(20)
    assert not waiting.is_alive()
    assert begun[-1] == 2**24


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rules_have_the_bits_of_one_process(tmp_path, rule):
    """On Ray hosts with a GPU send apart; in one process nothing does."""

    def trained(name, **scaling):
        shards = rc.data.Digits("train").split(rc.IID(num_parts=4))
        result = rc.fit(
            [rc.Agent(f"party-{i}", shard, rc.SGD(lr=0.1)) for i, shard in enumerate(shards)],
            rule,
            test=rc.data.Digits("test"),
            task=rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10),
            run=rc.RunConfig(num_rounds=2, dir=str(tmp_path / name)),
            scaling=rc.ScalingConfig(**scaling),
            failure=rc.FailureConfig(on_agent_failure="stop"),
        )
        return hashlib.sha256((Path(result.path) / "model" / "model.safetensors").read_bytes()).hexdigest()

    apart = trained("apart", gpus_per_host=0.5, agents_per_host=2)
    assert apart == trained("whole", pool="local", gpus_per_host=1.0, agents_per_host=4)


def test_copies_are_seen_in_the_timeline(tmp_path):
    """Of each of two agents, its delta."""
    prepared = Prepared("Median", "cuda", str(tmp_path), steps=20, tiny=True)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        prepared.round(apart=True)
        lanes = prepared.round(apart=True)
    finally:
        ray.shutdown()
    assert len(lanes.spans[COPIES]) >= 2
