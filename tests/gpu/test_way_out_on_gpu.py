"""Vectors that leave a GPU while it computes on: the same bits, in pinned memory, for every kind of rule."""

import hashlib
import threading
from pathlib import Path

import pytest
import ray
import torch

import raycollab as rc
from benchmarks.transfers import Prepared
from raycollab.runtime.way_out import WayOut

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is False"),
]
RULES = {"averaged": rc.Mean(), "kept": rc.Median(), "by distance": rc.GeometricMedian()}


def test_copies_have_the_bits_of_what_was_computed_before():
    """Though the memory is given back at once, and whatever comes next is written into it."""
    way, tree, expected = WayOut("cuda:0"), [], []
    for seed in range(8):
        vector = torch.full((2**22,), float(seed), device="cuda:0").mul_(3.0)
        tree.append(way.begin({"delta": vector, "name": "a"}))
        expected.append(3.0 * seed)
        del vector
        torch.full((2**22,), -1.0, device="cuda:0")
    way.arrival()()
    assert all(each["delta"].is_pinned() for each in tree)
    assert [each["delta"].unique().tolist() for each in tree] == [[value] for value in expected]


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
    prepared = Prepared("Median", "cuda", True, str(tmp_path))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        line = prepared.described(prepared.round(apart=True), apart=True)
    finally:
        ray.shutdown()
    assert line["seconds_of_copies"] > 0
