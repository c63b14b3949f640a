"""One student; whole runs, and its reference in plain torch, stand in tests/contracts/test_distillation.py."""

from dataclasses import replace

import pytest
import torch

from raycollab.errors import ConfigError, ModelError
from raycollab.learners import REPORTED, SGD, Scaffold, StartLoss, Student
from raycollab.learners.public import soft_problem

from .test_public import PUBLIC, party

INNER = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=2)
RULE = Student(INNER, PUBLIC, temperature=2.0)


def test_it_sends_the_delta_of_learning_the_consensus():
    """That of its learner on the soft problem, without the buffers; its own labels count for nothing."""
    held = party()
    update, state = RULE.update(held.problem, held.params, RULE.init(held.params), held.round)
    soft = soft_problem(held.problem, PUBLIC, held.round, 2.0)
    expected, kept = INNER.update(soft, held.params, {}, held.round)
    assert set(update.vectors) == {"delta"}
    assert torch.equal(update.vectors["delta"], expected.vectors["delta"])
    assert update.vectors["delta"].any()
    assert torch.equal(state["velocity"][0], kept["velocity"][0])


def test_it_does_nothing_before_anything_was_said():
    held = party(version=0)
    update, state = RULE.update(held.problem, held.params, {}, held.round)
    assert set(update.vectors) == {"delta"}
    assert not update.vectors["delta"].any()
    assert update.scalars == dict.fromkeys(REPORTED, 0.0)
    assert state == {}


def test_other_buffers_are_refused():
    held = party(batch_norm=True)
    with pytest.raises(ModelError, match=r"agent 'a': a Student's net cannot exchange buffers, this one has \['net"):
        RULE.update(held.problem, held.params, {}, held.round)


def test_it_promises_only_what_it_sends_in_every_round():
    assert RULE.needs == Student(StartLoss(SGD()), PUBLIC).needs == ()
    assert set(RULE.sends) == set(Student(StartLoss(SGD()), PUBLIC).sends) == set(REPORTED)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, r"Student\.temperature=-1\.0: must be > 0"),
        ({"temperature": float("inf")}, r"Student\.temperature=inf: must be > 0 and finite"),
        ({"learner": Scaffold(SGD())}, r"Student\.learner=Scaffold.*: .* needs nothing of the round: only its delta"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(RULE, **settings)
