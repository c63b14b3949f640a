"""Agents that share steps on a GPU: the same run but for rounding, the same bits twice, and measured there."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import raycollab as rc
from raycollab.speed import measured

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is False"),
]
GPU = rc.ScalingConfig(pool="local", gpus_per_host=1.0, gpus_for_driver=1.0)
NETS = {
    "linear": rc.models.MLP(num_features=64, num_outputs=10),
    "convolutions": rc.models.CNN(10, in_channels=1, size=8, channels=(8, 16), hidden=32),
}


def experiment(folder, name, net, at_once):
    """Eight agents, most of which have as many examples as another and so can share steps with it."""
    return rc.Experiment(
        rc.ImageClassification(net, num_classes=10),
        rc.Split(rc.data.Digits("train"), rc.IID(num_parts=8), (rc.SGD(lr=0.1, momentum=0.9, batch_size=8),)),
        (rc.Mean(),),
        rc.data.Digits("test"),
        run=rc.RunConfig(num_rounds=2, dir=str(folder), name=name),
        scaling=replace(GPU, agents_at_once=at_once),
    )


def trained(*given):
    result = rc.run_experiment(experiment(*given))
    assert not any(row["failure"] for row in result.agents)
    model = result.model().module.state_dict()
    return model, hashlib.sha256((Path(result.path) / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_only_rounding_differs(tmp_path, net):
    """As on a CPU, but that convolutions may be in TF32: some 42 steps carry a difference of 1e-3 along."""
    alone, _ = trained(tmp_path, "alone", net, 0)
    together, _ = trained(tmp_path, "together", net, 3)
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-2, atol=1e-2)


def test_the_same_bits_twice(tmp_path):
    runs = [trained(tmp_path, name, NETS["linear"], 3)[1] for name in ("first", "again")]
    assert runs[0] == runs[1]


def test_it_is_measured_where_agents_learn(tmp_path):
    made, why = measured(experiment(tmp_path, "measured", NETS["linear"], None).resolved())
    assert 0 <= made.scaling.agents_at_once <= 8
    assert why.endswith(f", on {torch.cuda.get_device_name()}")
