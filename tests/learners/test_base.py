"""What learners that wrap others accept."""

import pytest
import torch

from raycollab.data import Arrays
from raycollab.errors import ConfigError
from raycollab.learners import SGD, Distill, Dyn, FedSGD, Fisher, Moon, Prox, Scaffold, StartLoss, Student

PUBLIC = Arrays({"x": torch.zeros(4, 2)}, "public")
LOCAL = "must be a LocalLearner, such as SGD or Optimizer"


@pytest.mark.parametrize("inner", [FedSGD(), Scaffold(SGD()), Prox(SGD(), mu=1.0), None], ids=repr)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda inner: Prox(inner, mu=0.1), rf"Prox\.learner=.*: {LOCAL}"),
        (lambda inner: Dyn(inner, alpha=0.1), rf"Dyn\.learner=.*: {LOCAL}"),
        (Moon, rf"Moon\.learner=.*: {LOCAL}"),
        (Scaffold, r"Scaffold\.learner=.*: must be SGD"),
    ],
)
def test_steps_are_wanted(make, message, inner):
    """Only a local learner takes steps that another can change; others would fail when the first agent begins."""
    with pytest.raises(ConfigError, match=message):
        make(inner)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (StartLoss, r"StartLoss\.learner=<class '.*SGD'>: must be a Learner, such as SGD"),
        (Fisher, r"Fisher\.learner=<class '.*SGD'>: must be a Learner, such as SGD"),
        (lambda inner: Distill(inner, SGD(), PUBLIC), r"Distill\.learner=<class '.*SGD'>: must be a Learner"),
        (lambda inner: Distill(SGD(), inner, PUBLIC), r"Distill\.digest=<class '.*SGD'>: must be a Learner"),
        (lambda inner: Student(inner, PUBLIC), r"Student\.learner=<class '.*SGD'>: must be a Learner"),
    ],
)
def test_a_learner_is_wanted(make, message):
    """The class in the place of a value is the mistake that is easily made."""
    with pytest.raises(ConfigError, match=message):
        make(SGD)
    make(SGD())
