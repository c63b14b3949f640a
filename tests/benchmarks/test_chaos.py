"""The faults of benchmarks.chaos: their plan, the reference that they are judged by, the table, and twenty of them."""

import errno
import json
import signal

import pytest

from benchmarks.chaos import disk
from benchmarks.chaos.drivers import bits
from benchmarks.chaos.experiment import made
from benchmarks.chaos.faults import KINDS, LOST_CALLS, ONE_NODE, SEVERAL_NODES, Fault, planned, scenes
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.reference import judged
from benchmarks.chaos.running import outcomes_of
from benchmarks.chaos.table import Outcome, is_clean, table
from benchmarks.chaos.watch import CallWatch
from raycollab.checkpoint import RunFolder
from raycollab.driver import Driver
from raycollab.runtime.pool import LocalPool
from raycollab.types import AgentReport, Failure, RoundReport


def test_a_plan_is_of_its_seed_and_has_every_kind_alike():
    plan = planned(45, seed=1)
    assert plan == planned(45, seed=1)
    assert plan != planned(45, seed=2)
    counts = [sum(fault.kind == kind.name for fault in plan) for kind in KINDS]
    assert set(counts) == {2, 3}
    assert [fault.number for fault in plan] == list(range(45))
    assert {fault.kind for fault in planned(5, 0, ["nan", "late"])} == {"nan", "late"}


def test_faults_are_cut_into_runs():
    runs = scenes(planned(200, seed=0))
    assert [(scene, len(faults)) for scene, faults in runs] == [
        *[(ONE_NODE, 30)] * 5, (ONE_NODE, 20), *[(SEVERAL_NODES, 10)] * 2, (LOST_CALLS, 10),
    ]  # fmt: skip


def fault(**settings):
    return Fault(**{"number": 7, "kind": "nan", "agent": 1, "gap": 1, "step": 1, "delay_s": 0.0, "spot": 5, **settings})


def test_a_fault_strikes_once_where_it_is_to(tmp_path):
    """Of agent 1, from round 4 on, at the spot that its number gives: 5 of 3 is 2."""
    ledger = Ledger(str(tmp_path))
    assert ledger.claimed("nan", 4, "agent-1") is None
    ledger.arm(fault(), from_round=4)
    assert ledger.claimed("nan", 3, "agent-1") is None
    assert ledger.claimed("nan", 4, "agent-0") is None
    assert ledger.claimed("late", 4, "agent-1") is None
    assert ledger.claimed("nan", 4, "agent-1", spot=(1, 3)) is None
    assert ledger.struck(fault()) is None
    assert ledger.claimed("nan", 5, "agent-1", spot=(2, 3)) == fault()
    assert ledger.claimed("nan", 5, "agent-1", spot=(2, 3)) is None
    assert ledger.struck(fault())["round"] == 5


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """An experiment, and what an undisturbed run of three rounds notes of itself."""
    folder = tmp_path_factory.mktemp("chaos")
    experiment = made(ONE_NODE, 0, 1, str(folder), str(folder))
    pool = LocalPool(experiment.session(), experiment.members(), experiment.layout(num_cpus=1))
    driver = Driver(experiment.plan(), pool, RunFolder.create(str(folder), "run"))
    driver.start()
    rows = []
    for index in (1, 2, 3):
        before, agents = bits(driver.vectors), [report.agent for report in driver.step().agents]
        rows.append({"version": index, "agents": agents, "before": before, "after": bits(driver.vectors)})
    return experiment, rows


def verdicts(committed, rows, place):
    ledger = Ledger(str(place))
    for row in rows:
        ledger.add("commits.jsonl", row)
    return [(each.right, each.replayed) for each in judged(ledger, committed[0], str(place))]


def test_an_undisturbed_run_is_right(committed, tmp_path):
    assert verdicts(committed, committed[1], tmp_path) == [(True, False)] * 3


def test_a_round_that_is_committed_again_is_replayed(committed, tmp_path):
    first, second, third = committed[1]
    rows = [first, second, second, third]
    assert verdicts(committed, rows, tmp_path) == [(True, False), (True, False), (True, True), (True, False)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"after": "0" * 64}, id="other bits"),
        pytest.param({"before": "0" * 64}, id="it began with what was never committed"),
        pytest.param({"agents": ["agent-0", "agent-1", "agent-2"]}, id="it counts an agent that it does not name"),
    ],
)
def test_a_wrong_round_is_found(committed, tmp_path, change):
    first, second, _ = committed[1]
    assert verdicts(committed, [first, second | change], tmp_path) == [(True, False), (False, False)]


def test_an_agent_that_began_with_an_older_memory_is_taken_as_such(committed, tmp_path):
    """Noted is that agent 2 began round 3 with what it remembered of round 1: the undisturbed bits are not those."""
    begun = {"time": 0.0, "agent": "agent-2", "round": 3, "kept": 1}
    (tmp_path / "begun.jsonl").write_text(json.dumps(begun) + "\n")
    assert verdicts(committed, committed[1], tmp_path) == [(True, False), (True, False), (False, False)]


def test_a_run_that_loses_calls_is_asked_to_stop_once(tmp_path, monkeypatch):
    """Also if calls are lost while it stops: a second SIGTERM ends a process at once."""
    signals = []
    monkeypatch.setattr("benchmarks.chaos.watch.os.kill", lambda process, number: signals.append(number))
    watch = CallWatch(Ledger(str(tmp_path)), [])
    lost = Failure("agent-0", "RayError", "the actor is unavailable: ")
    for index, failures in enumerate([(), (), (lost,), ()], start=1):
        watch.on_round(RoundReport(index, {}, 0.0, 0.0, 0, 0, (AgentReport("agent-1"),), failures))
    assert signals == [signal.SIGTERM]


def test_the_table():
    """Recovery of two faults, 1 and 3 seconds: 2 in the middle; a hang has no time, and nothing is clean any more."""
    good = [Outcome("nan", 1.0, missed=1), Outcome("nan", 3.0, missed=1), Outcome("node", 5.0, missed=2, replayed=4)]
    rows = table([*good, Outcome("node", hang=True)]).splitlines()
    assert rows[2:] == [
        "| update with NaN | 2 | 2 | 0 | 0 | 0 | 0 | 2.0 | 3.0 |",
        "| node killed | 2 | 2 | 4 | 0 | 1 | 0 | 5.0 | 5.0 |",
        "| **all** | 4 | 4 | 4 | 0 | 1 | 0 | 3.0 | 5.0 |",
        "| **those that cost an agent its actor** | 2 | 2 | 4 | 0 | 1 | 0 | 5.0 | 5.0 |",
    ]
    assert is_clean(good)
    assert not is_clean([Outcome("node", hang=True)])
    assert not is_clean([Outcome("node", 1.0, wrong=1)])
    assert not is_clean([Outcome("node", ended=True)])


def test_a_disk_that_cannot_be_filled_says_that_it_is_full(tmp_path):
    ledger = Ledger(str(tmp_path))
    disk.refused(ledger)
    disk.fill(str(tmp_path / "run"), ledger)
    with pytest.raises(OSError, match="No space left on device") as refused:
        disk.refused(ledger)
    assert refused.value.errno == errno.ENOSPC
    disk.free(tmp_path, ledger)
    disk.refused(ledger)


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.timeout(900)  # three minutes alone, more than five beside other work
def test_twenty_faults_one_of_each_kind(tmp_path):
    """Nothing is wrong, nothing hangs, no run ends, and all agents come back."""
    plan = planned(len(KINDS), seed=0)
    assert {fault.kind for fault in plan} == {kind.name for kind in KINDS}
    outcomes = outcomes_of(plan, 0, tmp_path)
    assert is_clean(outcomes), table(outcomes)
    assert sorted(each.kind for each in outcomes) == sorted(fault.kind for fault in plan)
    assert all(each.seconds is not None for each in outcomes)
