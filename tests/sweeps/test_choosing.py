from functools import partial

import pytest

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.sweeps import Search
from raycollab.sweeps.checks import checked
from raycollab.sweeps.choosing import checkpoints_kept, domains, scheduler

from .test_sweeps import HELD, experiment

SPACE = {
    "chain.2.beta": {"uniform": [0.1, 0.9]},
    "agents.learners.0.epochs": {"randint": [1, 4]},
    "chain.1": {"choice": [rc.Mean(), rc.Median()]},
}


def settings(**changes):
    return Search(**{"space": SPACE, "validation": HELD, "scheduler": "pbt", **changes})


def test_choices_of_rules_travel_as_text():
    assert [value[:14] for value in domains(settings())["chain.1"].categories] == ['{"class_path":'] * 2


def test_changed_settings_stay_in_their_ranges():
    """1.2 times 0.9 is 0.9, 0.8 times 0.1 is 0.1, and randint leaves out its end; what is inside stays as it is."""
    within = scheduler(settings(), 4)._custom_explore_fn
    assert isinstance(within, partial)
    high = {"chain.2.beta": 1.08, "agents.learners.0.epochs": 4, "chain.1": "rule"}
    assert within(high) == {"chain.2.beta": 0.9, "agents.learners.0.epochs": 3, "chain.1": "rule"}
    assert within({**high, "chain.2.beta": 0.08})["chain.2.beta"] == 0.1
    assert within({**high, "chain.2.beta": 0.5})["chain.2.beta"] == 0.5
    assert high["chain.2.beta"] == 1.08


def test_choices_are_changed_to_neighbours():
    """Tune multiplies what is drawn from a domain, which text cannot be; a list it walks along."""
    changes = scheduler(settings(), 4)._hyperparam_mutations
    assert changes["chain.1"] == domains(settings())["chain.1"].categories


def test_ends_that_changed_settings_reach_are_tried():
    """A momentum of 1 is never drawn from [0, 1), but 1.2 times 0.9 would stop there."""
    ending = {"chain.2.beta": {"uniform": [0.0, 1.0]}}
    checked(experiment(), settings(space=ending, scheduler="asha"))
    with pytest.raises(ConfigError, match=r"Search.space\['chain.2.beta'\]: 1.0 cannot be set there: .*beta"):
        checked(experiment(), settings(space=ending))


def test_checkpoints_reach_back_to_the_last_comparison():
    assert checkpoints_kept(settings(grace=5)) == 7
    assert checkpoints_kept(settings(scheduler="asha")) == 2
