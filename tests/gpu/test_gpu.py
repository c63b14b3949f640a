"""Agents on a real GPU: pinned by Ray, to the same bits, in float32 and bfloat16."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import raycollab as rc

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is False"),
]
TASK = rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10)


@dataclass(frozen=True)
class Telling(rc.SGD):
    """Writes down where it computes."""

    folder: str = ""

    def update(self, problem, params, state, round):
        batch = next(problem.batches(round, batch_size=2, epochs=1))
        seen = {
            "params": str(params.device),
            "model": str(problem.model.flats[0].device),
            "data": str(batch["image"].device),
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "limit": torch.cuda.get_per_process_memory_fraction()
            if hasattr(torch.cuda, "get_per_process_memory_fraction")
            else None,
        }
        (Path(self.folder) / f"{problem.agent}.json").write_text(json.dumps(seen))
        return super().update(problem, params, state, round)


def bfloat16_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(torch.bfloat16)


@dataclass(frozen=True)
class InBfloat16(rc.ImageClassification):
    """Feeds a bfloat16 net."""

    def _cast(self, batch):
        return {**batch, self.inputs: batch[self.inputs].to(torch.bfloat16)}

    def loss(self, model, batch):
        return super().loss(model, self._cast(batch))

    def statistics(self, model, batch):
        return super().statistics(model, self._cast(batch))


def fit(folder, *, learner, task=TASK, num_agents=3, num_rounds=8, **scaling):
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.5, num_parts=num_agents))
    return rc.fit(
        [rc.Agent(f"party-{i}", shard, learner, task) for i, shard in enumerate(shards)],
        rc.chain(rc.ClipNorm(10.0), rc.Mean(), rc.Momentum(0.5)),
        test=rc.data.Digits("test"),
        run=rc.RunConfig(num_rounds=num_rounds, dir=str(folder)),
        scaling=rc.ScalingConfig(**scaling),
        failure=rc.FailureConfig(on_agent_failure="stop"),
    )


def bits(result):
    return hashlib.sha256((Path(result.path) / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("share", [0.33, 0.25])
def test_a_fraction_of_a_gpu_each(tmp_path, share):
    """Three actors share the one GPU with the driver; inside, the device is the pinned one."""
    learner = Telling(lr=0.1, momentum=0.9, epochs=2, folder=str(tmp_path))
    result = fit(tmp_path / "runs", learner=learner, gpus_per_host=share, gpus_for_driver=0.01 if share > 0.3 else 0.25)
    assert result.metrics["accuracy"] >= 0.9
    seen = [json.loads((tmp_path / f"party-{i}.json").read_text()) for i in range(3)]
    for place in seen:
        assert {place["params"], place["model"], place["data"]} == {"cuda:0"}
        assert place["visible"] == "0"
        assert place["limit"] in (None, pytest.approx(share))


def test_a_whole_gpu_for_one_host(tmp_path):
    learner = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True)
    result = fit(tmp_path, learner=learner, gpus_per_host=1.0, agents_per_host=3)
    assert result.metrics["accuracy"] >= 0.8


def test_more_gpus_than_there_are(tmp_path):
    """Refused at once, saying what was asked for and what is there."""
    with pytest.raises(rc.ResourceError, match=rf"ask for .*3 GPU; the cluster has .*{torch.cuda.device_count()} GPU"):
        fit(tmp_path, learner=rc.SGD(), gpus_per_host=float(torch.cuda.device_count()))


def test_the_same_bits_twice_and_on_both_pools(tmp_path):
    """One process with one host, three actors, and three actors again."""
    learner = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True)
    runs = [
        fit(tmp_path / "local", learner=learner, num_rounds=4, pool="local", gpus_per_host=1.0, agents_per_host=3),
        fit(tmp_path / "ray", learner=learner, num_rounds=4, gpus_per_host=0.3),
        fit(tmp_path / "again", learner=learner, num_rounds=4, gpus_per_host=0.3),
    ]
    assert len({bits(result) for result in runs}) == 1


def test_a_bfloat16_model(tmp_path):
    """Sums are float32 whatever the model's dtype; it learns all the same."""
    task = InBfloat16(rc.models.Module(bfloat16_net), num_classes=10)
    result = fit(tmp_path, learner=rc.SGD(lr=0.1, momentum=0.9, epochs=2), task=task, pool="local", gpus_per_host=1.0)
    assert result.metrics["accuracy"] >= 0.9
