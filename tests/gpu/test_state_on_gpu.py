"""What agents remember on a GPU: to disk and back to the same bits; and what the CPU computes, but for rounding."""

import pytest
import torch

import raycollab as rc

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is False"),
]
GPU = rc.ScalingConfig(pool="local", gpus_per_host=1.0, gpus_for_driver=1.0)
LEARNERS = {
    "SGD": rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True),
    "AdamW": rc.Optimizer("AdamW", {"lr": 2e-3}, keep_state=True),  # its step count stays on the CPU
}


def fit(folder, name, learner, *, num_rounds, scaling=GPU, resume=None):
    task = rc.ImageClassification(rc.models.MLP(num_features=64, num_outputs=10), num_classes=10)
    shards = rc.data.Digits("train").split(rc.Dirichlet(alpha=1.0, num_parts=2))
    result = rc.fit(
        [rc.Agent(f"party-{i}", shard, learner, task) for i, shard in enumerate(shards)],
        rc.chain(rc.Mean(), rc.Momentum(0.5)),
        test=rc.data.Digits("test"),
        run=rc.RunConfig(num_rounds=num_rounds, dir=str(folder), name=name),
        scaling=scaling,
        resume=resume,
    )
    assert not any(row["failure"] for row in result.agents)
    return result.model().module.state_dict()


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_resumed_to_the_same_bits(tmp_path, learner):
    whole = fit(tmp_path, "whole", learner, num_rounds=4)
    fit(tmp_path, "half", learner, num_rounds=2)
    resumed = fit(tmp_path, "half", learner, num_rounds=4, resume=str(tmp_path / "half"))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_one_round_is_that_of_the_cpu(tmp_path):
    """Not bit for bit: sums run in another order, and 23 steps carry the difference of some 1e-7 along."""
    on_gpu = fit(tmp_path, "gpu", LEARNERS["SGD"], num_rounds=1)
    on_cpu = fit(tmp_path, "cpu", LEARNERS["SGD"], num_rounds=1, scaling=rc.ScalingConfig(pool="local"))
    for name, tensor in on_cpu.items():
        torch.testing.assert_close(on_gpu[name], tensor, atol=1e-4, rtol=1e-3)
