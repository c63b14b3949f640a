import pytest

from raycollab.errors import ConfigError
from raycollab.modes import Exponential, PerAgent, SemiSynchronous
from raycollab.types import Assignment

SPEEDS = PerAgent({"a": 3.0, "b": 1.0, "c": 9.0, "d": 2.0})


@pytest.mark.parametrize(
    ("deadline", "min_agents", "ready", "clock"),
    [
        (2.0, 1, "bd", 12.0),  # who takes exactly as long is in time
        (5.0, 1, "abd", 15.0),
        (0.5, 1, "b", 11.0),  # nobody is in time: the round waits for the first
        (2.0, 3, "abd", 13.0),  # ... for the third
        (2.0, 4, "abcd", 19.0),
    ],
)
def test_by_hand(deadline, min_agents, ready, clock):
    mode = SemiSynchronous(deadline, SPEEDS, min_agents)
    work, state = mode.assign("abcd", {"clock": 10.0}, version=4, seed=0)
    assert work == [Assignment(name, 4) for name in ready]
    assert state == {"clock": clock}


def test_who_was_late_starts_again_at_the_newest_version():
    mode = SemiSynchronous(1.0, Exponential(1.0))
    state, taken = mode.init(), set()
    for version in range(20):
        work, state = mode.assign("abcd", state, version=version, seed=0)
        assert {job.version for job in work} == {version}
        taken.add("".join(job.agent for job in work))
    assert len(taken) > 4  # durations are drawn anew
    assert state["clock"] >= 20.0


def test_the_rounds_minimum():
    mode = SemiSynchronous(1.0, min_agents=3)
    assert mode.updates_per_round(5) == 3
    with pytest.raises(ConfigError, match=r"SemiSynchronous.min_agents=3: a round selects 2 agents; set it to at most"):
        mode.updates_per_round(2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"deadline": 0.0}, "SemiSynchronous.deadline=0.0: must be > 0"),
        (
            {"deadline": float("nan")},
            "SemiSynchronous.deadline=nan: must be > 0 and finite, in the unit of the durations",
        ),
        ({"deadline": float("inf")}, r"SemiSynchronous.deadline=inf: must be > 0 and .*; without a deadline take Sync"),
        ({"deadline": 1.0, "min_agents": 0}, "SemiSynchronous.min_agents=0: must be >= 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        SemiSynchronous(**settings)
