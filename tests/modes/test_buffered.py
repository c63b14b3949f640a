import math

import pytest

from raycollab.errors import ConfigError
from raycollab.modes import Buffered, PerAgent
from raycollab.tree import flatten

SPEEDS = PerAgent({"a": 1.0, "b": 2.5, "c": 7.0})


def replay(mode, *rounds, seed=0):
    """(agent, version it began with) of each version, and the last state."""
    state, found = mode.init(), []
    for version, selected in enumerate(rounds):
        work, state = mode.assign(selected, state, version=version, seed=seed)
        assert [job.discount for job in work] == [(1 + version - job.version) ** -mode.power for job in work]
        found.append([(job.agent, job.version) for job in work])
    return found, state


def test_by_hand():
    """The clock: a is ready at 1, 2, 3, 4, ..., b at 2.5 and 5, c at 7; at equal times the name decides."""
    found, state = replay(Buffered(1, durations=SPEEDS), *["abc"] * 6)
    assert found == [[("a", 0)], [("a", 1)], [("b", 0)], [("a", 2)], [("a", 4)], [("a", 5)]]
    assert state == {"clock": 5.0, "working": {"c": (0, 7.0), "b": (3, 5.0)}}


def test_two_make_a_version():
    """Ready: a 1, b 2.5 -> version 1 at 2.5; a 3.5, b 5 -> 2 at 5; a 6, c 7 (of version 0) -> 3 at 7."""
    found, state = replay(Buffered(2, durations=SPEEDS), *["abc"] * 3)
    assert found == [[("a", 0), ("b", 0)], [("a", 1), ("b", 1)], [("a", 2), ("c", 0)]]
    assert state["clock"] == 7.0


def test_work_that_is_too_stale_is_thrown_away():
    """With a staleness of one at most c, which takes seven, never has a part; it starts again every other version."""
    found, state = replay(Buffered(2, max_staleness=1, durations=SPEEDS), *["abc"] * 9)
    assert {name for work in found for name, _ in work} == {"a", "b"}
    assert state["working"]["c"][0] == 8
    assert all(version - began <= 1 for version, work in enumerate(found) for _, began in work)
    assert ("c", 0) in [job for work in replay(Buffered(2, durations=SPEEDS), *["abc"] * 9)[0] for job in work]


def test_selected_agents_take_the_places_of_those_that_are_ready():
    """As many are at work as a round selects; who is at work stays there, selected or not."""
    names, mode = "abcdefgh", Buffered(1, durations=PerAgent({}, default=5.0))
    (first, second), state = replay(mode, "abc", "def")
    assert (first, state["clock"]) == ([("a", 0)], 5.0)
    (newcomer,) = set(state["working"]) - {"b", "c"}
    assert newcomer in "def"
    assert second == [("b", 0)]
    newcomers = {max(replay(mode, "abc", "def", seed=seed)[1]["working"]) for seed in range(20)}
    assert newcomers == set("def")  # drawn, not always the first in the list
    assert len(replay(mode, names, "ab")[1]["working"]) == 6  # a smaller round takes nobody from work


def test_same_seed_same_work():
    mode = Buffered(2)
    assert replay(mode, *["abcdef"] * 8) == replay(mode, *["abcdef"] * 8)
    assert replay(mode, *["abcdef"] * 8) != replay(mode, *["abcdef"] * 8, seed=1)


def test_the_state_is_not_changed_and_can_be_stored():
    mode = Buffered(1)
    _, state = mode.assign("abc", mode.init(), version=0, seed=0)
    before = repr(state)
    _, after = mode.assign("abc", state, version=1, seed=0)
    assert repr(state) == before
    flatten(after)


def test_what_the_driver_asks():
    assert (Buffered(2).updates_per_round(5), Buffered(2, max_staleness=4).horizon) == (2, 5)
    assert (Buffered(2).discounts, Buffered(2, power=0.0).discounts) == (True, False)
    with pytest.raises(
        ConfigError, match=r"Buffered.size=2: a round selects 1 agents, and no more are at work; set it"
    ):
        Buffered(2).updates_per_round(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "Buffered.size=0: must be >= 1"),
        ({"size": 1, "max_staleness": -1}, "Buffered.max_staleness=-1: must be >= 0"),
        ({"size": 1, "power": -0.5}, "Buffered.power=-0.5: must be >= 0 and finite; 0 discounts nothing"),
        ({"size": 1, "power": math.inf}, "Buffered.power=inf: must be >= 0 and finite"),
        ({"size": 1, "power": float("nan")}, "Buffered.power=nan: must be >= 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Buffered(**settings)
