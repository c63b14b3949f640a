"""How many agents learn in the same steps is measured once, and stands in the experiment from then on."""

from dataclasses import replace

import pytest
from torch import nn

import raycollab as rc
from raycollab.errors import DataError
from raycollab.speed import measured
from tests.contracts.support import digits

UNKNOWN = rc.ScalingConfig(agents_at_once=None)


class Elsewhere(rc.data.Source):
    def read(self):
        raise DataError("elsewhere: not on this node")

    def describe(self):
        return "elsewhere"


def test_what_is_measured_is_written_into_the_experiment():
    experiment, why = measured(digits(scaling=UNKNOWN))
    assert experiment.scaling.agents_at_once is not None
    assert f"agents_at_once={experiment.scaling.agents_at_once}: " in why
    assert measured(experiment) == (experiment, "")


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images):
        return self.layer(images.flatten(1)) * 2


@pytest.mark.parametrize(
    "change",
    [
        {"learners": rc.Prox(rc.SGD(lr=0.1), mu=0.1)},
        {"task": rc.ImageClassification(rc.models.Module(Doubled), num_classes=10)},
    ],
    ids=["learner", "model"],
)
def test_what_cannot_share_steps_learns_one_by_one(change):
    experiment, why = measured(digits(scaling=UNKNOWN, **change))
    assert experiment.scaling.agents_at_once == 0
    assert why == "agents learn one by one: their model or learner cannot share steps"


def test_data_that_is_not_here_is_said_and_not_measured():
    experiment = digits(scaling=UNKNOWN)
    members = [rc.Agent("north", Elsewhere(), rc.SGD(lr=0.1))]
    said = measured(replace(experiment, agents=rc.Parties(tuple(members))))[1]
    assert said == "agents learn one by one: nothing was measured, as the data is not here: elsewhere: not on this node"
