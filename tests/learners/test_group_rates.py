"""Other rates for some parts: what stands still, what moves less, and that it is the learner itself with none."""

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.data import Arrays, Shard
from raycollab.errors import ConfigError
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem

TASK = rc.Classification(rc.models.Headed(rc.models.MLP(4, 6, ()), rc.models.MLP(6, 3, ())), 3)
DATA = Arrays({"features": torch.randn(32, 4), "label": torch.arange(32) % 3})
LEARNERS = [
    rc.SGD(lr=0.1, momentum=0.9, steps=1, batch_size=8),
    rc.Optimizer("AdamW", {"lr": 0.01}, steps=1, batch_size=8),
]


def learned(learner):
    torch.manual_seed(0)
    model = FlatModel(TASK.model(), Exchange())
    params = model.read()
    problem = Problem("one", TASK, model, Shard(DATA.read(), val_fraction=0.0, seed=0), lambda: False)
    update, state = learner.update(problem, params, learner.init(params), rc.Round(1, 0, 0, {"params": params}))
    places = {entry.name: update.vectors["delta"][entry.offset : entry.stop] for entry in model.spec.params}
    return places, update, state


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda each: type(each).__name__)
def test_a_step_is_multiplied_whatever_the_optimizer(learner):
    plain, _, _ = learned(learner)
    scaled, _, _ = learned(rc.GroupRates(learner, {"trunk.*.bias": 0.0, "trunk.*": 0.25}))
    torch.testing.assert_close(scaled["trunk.1.weight"], 0.25 * plain["trunk.1.weight"], atol=1e-7, rtol=1e-4)
    assert not bool(scaled["trunk.1.bias"].any())
    assert torch.equal(scaled["head.1.weight"], plain["head.1.weight"])


def test_a_pattern_that_matches_nothing_changes_nothing():
    learner = LEARNERS[0]
    plain, update, _ = learned(learner)
    same, other, _ = learned(rc.GroupRates(learner, {"audio.*": 0.1}))
    assert all(torch.equal(plain[name], same[name]) for name in plain)
    assert update.scalars == other.scalars


def test_it_remembers_what_the_learner_does():
    keeps = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=1)
    assert rc.GroupRates(keeps, {"*": 0.5}).remembers
    assert learned(rc.GroupRates(keeps, {"*": 0.5}))[2]["velocity"]
    assert not rc.GroupRates(LEARNERS[0], {"*": 0.5}).remembers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((nn.Identity(), {"*": 1.0}), "GroupRates.learner=.*: must be a LocalLearner"),
        ((rc.SGD(), {}), "GroupRates.factors={}: give at least one"),
        ((rc.SGD(), {"*": -1.0}), r"GroupRates.factors\['\*'\]=-1.0: must be >= 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        rc.GroupRates(*settings)
