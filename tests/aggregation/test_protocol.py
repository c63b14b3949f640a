"""What is said around a round."""

from dataclasses import dataclass

import numpy as np
import pytest

import raycollab as rc
from raycollab.aggregation import DriverSide, Identity, Talk
from raycollab.errors import UpdateError
from raycollab.types import AgentReport, Failure


def test_answers_are_sorted_from_failures_and_counted():
    late = Failure("b", "Timeout", "no answer")
    talk = Talk(lambda messages: {"a": "hello", "b": late, "c": 3})
    answers, failures = talk({name: ("say", name) for name in "abcd"}, str)
    assert answers == {"a": "hello"}
    assert failures[0] is late
    assert [(failure.agent, failure.error, failure.message) for failure in failures[1:]] == [
        ("c", "UpdateError", "agent 'c' answered with a int, not a str; it is refused"),
        ("d", "UpdateError", "agent 'd' answered with a NoneType, not a str; it is refused"),
    ]
    assert talk.taken() == (len("hello"), 4 * len("saya"))
    assert talk.taken() == (0, 0)


@dataclass(frozen=True)
class Said:
    names: tuple[str, ...]
    shares: dict[str, bytes]
    count: int
    residues: np.ndarray
    nothing: None = None


def test_what_is_said_is_counted_by_what_it_carries():
    talk = Talk(lambda messages: dict.fromkeys(messages))
    talk({"a": Said(("bb", "c"), {"bb": bytes(32)}, 7, np.zeros(5, np.uint32))}, str)
    assert talk.taken() == (0, 3 + (2 + 32) + 8 + 20)


def test_almost_all_rules_say_nothing():
    talk = Talk(lambda messages: pytest.fail("nobody is to be asked"))
    side, round = rc.Mean().driver_side("run"), rc.Round(1, 0, 0, {})
    assert type(side) is DriverSide
    assert side.begin(round, {"a": 1}, talk) == (round, [])
    total = rc.WeightedSum()
    assert side.finish(total, ["a"], talk).total is total


def test_an_agent_of_such_a_rule_sends_what_the_rule_collects():
    side = rc.Median().agent_side(Identity("a"))
    update, report = rc.Update("a", 1.0, {}), AgentReport("a", loss=1.0)
    partial, told = side.collect(update, report, rc.Round(1, 0, 0, {}))
    assert partial.updates == (update,)
    assert told is report
    with pytest.raises(UpdateError, match="agent 'a' was sent a str, and its rule asks for no answers"):
        side.answer("hello")
