"""How many agents learn in the same steps is measured once, and stands in the experiment from then on."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import raycollab as rc
from raycollab.errors import DataError
from raycollab.speed import candidates, measured, most_at_once, tried
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


def test_a_gpu_that_is_not_here_is_said_and_not_stood_for_by_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    experiment, why = measured(digits(scaling=replace(UNKNOWN, gpus_per_host=0.5)))
    assert experiment.scaling.agents_at_once == 0
    assert why == "agents learn one by one: nothing was measured, as they use a GPU and this process sees none"


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"scaling": {"pool": "local"}}, 8),
        ({"scaling": {"pool": "local"}, "run": {"agents_per_round": 5}}, 5),
        ({"scaling": {"pool": "local"}, "run": {"num_blocks": 3}}, 3),  # 8 agents in 3 blocks
        ({"scaling": {"pool": "local"}, "upload": rc.BFloat16()}, 1),  # each agent is a block, and is sent by itself
        ({"scaling": {"agents_per_host": 3}}, 3),
        ({"scaling": {}}, 1),  # each agent has a host
    ],
    ids=repr,
)
def test_no_more_at_once_than_a_host_gets(settings, most):
    settings = {**settings, "scaling": replace(UNKNOWN, **settings["scaling"])}
    experiment = digits(**settings).resolved()
    assert most_at_once(experiment) == most
    assert measured(experiment)[0].scaling.agents_at_once <= most


def test_candidates_go_to_the_most_that_there_can_be():
    assert candidates(1) == [1]
    assert candidates(7) == [1, 2, 3, 4, 5, 6, 7]
    assert candidates(50) == [1, 2, 3, 4, 5, 6, 8, 10, 16, 32, 50]
    assert candidates(128) == [1, 2, 3, 4, 5, 6, 8, 10, 16, 32, 64, 128]


def test_larger_ones_are_left_out_once_three_were_in_vain():
    seconds = {0: 9.0, 1: 5.0, 2: 4.0, 3: 4.5, 4: 4.5, 5: 3.0, 6: 3.5, 8: 3.1, 10: 3.1, 16: 1.0}
    assert list(tried(seconds.__getitem__, candidates(16))) == [0, 1, 2, 3, 4, 5, 6, 8, 10]


def test_what_does_not_fit_into_memory_is_none():
    """Only the lack of memory is faked."""

    def seconds(count):
        if count > 2:
            raise torch.OutOfMemoryError("3 do not fit")
        return 1.0

    assert tried(seconds, [1, 2, 3, 4]) == {0: 1.0, 1: 1.0, 2: 1.0}
