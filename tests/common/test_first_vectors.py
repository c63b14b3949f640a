"""What the first round brings: the initial model, zeros for what learners need, other initial models."""

from dataclasses import dataclass, replace

import torch

import raycollab as rc
from raycollab.common import first_vectors
from raycollab.runtime.session import build_model

from ..contracts.support import digits


def vectors_of(experiment):
    plan = experiment.resolved().plan()
    return first_vectors(plan, build_model(plan.task, plan.exchange, plan.run.seed))


def test_what_is_needed_starts_at_zero():
    vectors = vectors_of(digits(rc.Scaffold(rc.SGD())))
    assert set(vectors) == {"params", "buffers", "control"}
    assert not vectors["control"].any()
    assert vectors["control"].shape == vectors["params"].shape


def test_further_models_are_other_initial_models_and_the_same_in_every_run():
    experiment = digits(rc.IFCA(rc.SGD(), 3), rc.PerCluster())
    vectors = vectors_of(experiment)
    assert set(vectors) == {"params", "buffers", "params/1", "params/2"}
    different = {tuple(vectors[name][:5].tolist()) for name in ("params", "params/1", "params/2")}
    assert len(different) == 3
    assert all(torch.equal(vectors[name], again) for name, again in vectors_of(experiment).items())
    seeded = vectors_of(replace(experiment, run=replace(experiment.run, seed=1)))
    assert not torch.equal(vectors["params/1"], seeded["params/1"])


@dataclass(frozen=True)
class Fixed(rc.models.Model):
    """A net whose weights are always the same, as pretrained ones are."""

    def build(self):
        module = rc.models.MLP(64, 10, hidden=()).build()
        for parameter in module.parameters():
            parameter.data.fill_(0.1)
        return module


def test_of_a_pretrained_net_they_are_equal():
    experiment = digits(rc.IFCA(rc.SGD()), rc.PerCluster())
    vectors = vectors_of(replace(experiment, task=replace(experiment.task, net=Fixed())))
    assert torch.equal(vectors["params"], vectors["params/1"])
