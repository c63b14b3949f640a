"""Agents' sides on a host."""

from dataclasses import replace

import pytest

import raycollab as rc
from raycollab.aggregation import AgentSide
from raycollab.errors import UpdateError
from raycollab.runtime.sides import Sides, failure_of
from raycollab.types import AgentReport, Failure

from ..contracts.support import digits


@pytest.fixture
def opened():
    experiment = digits(rounds=1)
    session = replace(experiment.session(), max_norm=5.0)
    agents = experiment.members()
    sides = Sides(session)
    sides.open(agents[0], experiment.rule, "run")
    return sides


def test_whoever_does_not_answer_has_a_failure(opened):
    answers = opened.answer({"agent-0": "hello", "agent-7": "hello"})
    assert answers["agent-0"].message == "agent 'agent-0' was sent a str, and its rule asks for no answers"
    assert answers["agent-7"] == Failure("agent-7", "UpdateError", "agent 'agent-7' is not open here")


def test_a_delta_that_is_too_long_stays_out_of_the_sum(opened):
    update = rc.Update("agent-0", 2.0, {})
    partial, _ = opened.collected(rc.Round(3, 0, 2, {}), update, AgentReport("agent-0", norm=5.0))
    assert (partial.count, partial.weight) == (1, 2.0)
    with pytest.raises(
        UpdateError, match=r"agent 'agent-0' round 3: the delta has norm 5\.1, above FailureConfig\.max_norm=5"
    ):
        opened.collected(rc.Round(3, 0, 2, {}), update, AgentReport("agent-0", norm=5.1))


def test_a_side_outlives_a_driver_that_opens_the_host_anew(opened):
    """What it has helped to open must not be forgotten because another driver asks."""

    class Counting(rc.Mean):
        def agent_side(self, who):
            made.append(who.name)
            return AgentSide(self.collect, who.name)

    made = []
    agents = digits(rounds=1).members()
    for _ in range(2):
        opened.open(agents[1], Counting(), "run")
    assert made == ["agent-1"]


def test_errors_of_others_are_told_with_their_kind():
    assert failure_of("a", ValueError("no")).message == "ValueError: no"
    assert failure_of("a", UpdateError("no")).message == "no"
