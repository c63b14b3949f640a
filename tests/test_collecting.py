"""Attempts at a round, with a pool that does as it is told."""

from dataclasses import replace

import pytest

from raycollab.config import FailureConfig, RunConfig
from raycollab.errors import Interrupted, QuorumError
from raycollab.modes import Cyclic, Synchronous
from raycollab.types import Failure

from .driver.support import NAMES, Scripted, scripted


class Refusing(Scripted):
    """Those that fail do it with an error of this kind."""

    def __init__(self, error, **settings):
        super().__init__(**settings)
        self.error = error

    def run(self, round, assignments, **settings):
        got = super().run(round, assignments, **settings)
        return replace(got, failures=tuple(replace(failure, error=self.error) for failure in got.failures))


@pytest.mark.parametrize(("error", "attempts"), [("UpdateError", 1), ("ModelError", 1), ("RuntimeError", 3)])
def test_what_would_happen_again_is_not_tried_again(tmp_path, error, attempts):
    """A misfit of model and data raises the same each time; a lack of memory need not."""
    pool = Refusing(error, fails=[set(NAMES)] * 3)
    with pytest.raises(QuorumError) as caught:
        scripted(tmp_path, pool).step()
    assert len(pool.rounds) == attempts
    assert ("in the first attempt" in str(caught.value)) == (attempts == 1)
    assert ("and another attempt would bring the same" in str(caught.value)) == (attempts == 1)


def test_others_are_tried_where_the_mode_takes_others(tmp_path):
    """Cyclic takes the next agent, whatever kept the first one from answering."""
    pool = Refusing("DataError", fails=[{"a"}])
    driver = scripted(tmp_path, pool, mode=Cyclic())
    report = driver.step()
    assert pool.assigned == [["a"], ["b"]]
    assert [agent.agent for agent in report.agents] == ["b"]
    assert [(failure.agent, failure.decision) for failure in report.failures] == [("a", "left out of this round")]
    assert report.retried == ()


def test_a_failure_that_was_made_good_is_a_row_as_well(tmp_path):
    driver = scripted(tmp_path, Scripted(fails=[{"a", "b"}]), failure=FailureConfig(min_agents=2))
    report = driver.step()
    assert report.failures == ()
    again = "asked again"
    assert report.retried == tuple(Failure(n, "OutOfMemoryError", f"no memory for {n}", again) for n in ("a", "b"))
    rows = [row for row in driver.folder.rows()[0]["agent_rows"] if row["failure"]]
    assert [(row["agent"], row["decision"]) for row in rows] == [("a", again), ("b", again)]


def test_more_are_selected_than_needed(tmp_path):
    """Two of four wanted and half as many on top: three are asked, and the pool is told that two are enough."""
    seen = []

    class Counting(Scripted):
        def run(self, round, assignments, *, enough=None, stop=lambda: False):
            seen.append((len(assignments), enough))
            return super().run(round, assignments)

    run = RunConfig(num_rounds=2, agents_per_round=2)
    scripted(tmp_path / "over", Counting(), run=run, mode=Synchronous(over_select=0.5)).step()
    scripted(tmp_path / "even", Counting(), run=run, failure=FailureConfig(min_agents=0.9)).step()
    assert seen == [(3, 2), (2, None)]


def test_a_share_of_the_quorum_is_one_of_those_that_are_enough(tmp_path):
    """With 0.9 of two wanted two must answer, not 0.9 of the three that were asked."""
    run, failure = RunConfig(num_rounds=2, agents_per_round=2), FailureConfig(min_agents=0.9)
    pool = Scripted(fails=[{"c"}])
    driver = scripted(tmp_path, pool, run=run, failure=failure, mode=Synchronous(over_select=0.5))
    assert driver.step().attempts == 1


def test_a_round_is_given_up_when_the_run_is_to_end_now(tmp_path):
    """One agent was told to stop: the round never was, also if the others would be enough."""
    driver = scripted(tmp_path, Scripted(fails=[{"b"}]))
    driver.interruption.ask(0.0)
    with pytest.raises(Interrupted, match="round 1 was given up: the run was asked to stop"):
        driver.step()
    assert driver.version == 0
    assert driver.folder.rows() == []


def test_a_round_that_is_complete_by_then_counts(tmp_path):
    driver = scripted(tmp_path, Scripted())
    driver.interruption.ask(0.0)
    assert driver.step().index == 1
    assert list(driver.rounds()) == []  # but no other begins


def test_who_keeps_failing_is_left_out(tmp_path):
    policy = FailureConfig(quarantine_after=2, quarantine_rounds=2)
    pool = Scripted(fails=[{"b"}, {"b"}])
    driver = scripted(tmp_path, pool, failure=policy, run=RunConfig(num_rounds=5))
    reports = list(driver.rounds())
    assert pool.assigned == [[*NAMES], [*NAMES], ["a", "c"], ["a", "c"], [*NAMES]]
    assert reports[1].failures[0].decision == "failed 2 rounds in a row: in quarantine until round 4"
