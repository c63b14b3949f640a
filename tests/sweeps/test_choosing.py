import json
from functools import partial

import pytest
from ray.tune.schedulers.pb2 import PB2

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.sweeps import Search
from raycollab.sweeps.checks import checked
from raycollab.sweeps.choosing import beginnings, checkpoints_kept, domains, scheduler

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


def test_trials_begin_as_drawn_or_as_the_experiment_stands():
    """The ranges that changes are drawn from stay; a rule travels as text either way."""
    text, _, _ = checked(experiment("--chain.2.beta=0.7"), settings())
    drawn = beginnings(settings(), text)
    assert type(drawn["chain.2.beta"]) is type(domains(settings())["chain.2.beta"])
    own = beginnings(settings(as_given=True), text)
    assert (own["chain.2.beta"], own["agents.learners.0.epochs"]) == (0.7, 1)
    assert json.loads(own["chain.1"])["class_path"].endswith("Mean")
    changes = scheduler(settings(as_given=True), 4)._hyperparam_mutations
    assert type(changes["chain.2.beta"]) is type(drawn["chain.2.beta"])


def test_choices_are_changed_to_neighbours():
    """Tune multiplies what is drawn from a domain, which text cannot be; a list it walks along."""
    changes = scheduler(settings(), 4)._hyperparam_mutations
    assert changes["chain.1"] == domains(settings())["chain.1"].categories


def test_a_gaussian_process_chooses_within_the_ranges():
    """It is told the ranges as they are; randint leaves out its end, which is the last whole number below."""
    space = {path: values for path, values in SPACE.items() if path != "chain.1"}
    found = scheduler(settings(space=space, scheduler="pb2", grace=3), 4)
    assert isinstance(found, PB2)
    assert (found._time_attr, found._perturbation_interval, found._synch) == ("round", 3, True)
    assert found._hyperparam_bounds == {"chain.2.beta": [0.1, 0.9], "agents.learners.0.epochs": [1, 4]}
    drawn = {"chain.2.beta": 0.9000001, "agents.learners.0.epochs": 4}
    assert found._custom_explore_fn(drawn) == {"chain.2.beta": 0.9, "agents.learners.0.epochs": 3}


def test_ends_that_changed_settings_reach_are_tried():
    """A momentum of 1 is never drawn from [0, 1), but 1.2 times 0.9 would stop there."""
    ending = {"chain.2.beta": {"uniform": [0.0, 1.0]}}
    checked(experiment(), settings(space=ending, scheduler="asha"))
    for changing in ("pbt", "pb2"):
        with pytest.raises(ConfigError, match=r"Search.space\['chain.2.beta'\]: 1.0 cannot be set there: .*beta"):
            checked(experiment(), settings(space=ending, scheduler=changing))


def test_checkpoints_reach_back_to_the_last_comparison():
    assert checkpoints_kept(settings(grace=5)) == 7
    assert checkpoints_kept(settings(grace=5, scheduler="pb2", space={"run.seed": {"randint": [0, 2]}})) == 7
    assert checkpoints_kept(settings(scheduler="asha")) == 2
