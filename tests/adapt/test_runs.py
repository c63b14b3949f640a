"""Drift in whole runs: what is seen and done, in the run folder, after a restart, by every agent."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.adapt import Branch, KolmogorovSmirnov, RaiseRate
from raycollab.checkpoint import RunFolder
from raycollab.tree import flatten

from ..contracts.support import TEST, Training, train, with_run

TURNED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
SEEN = 8  # the round of the change
LEARNER = rc.SGD(lr=0.2, epochs=2, batch_size=16)
WATCH = rc.Watch("loss", KolmogorovSmirnov(), (Branch(),))


def experiment(*, turned=("b", "d"), learner=None, rounds=11, watch=WATCH, **settings):
    """Four agents with a part of the digits each; those that are named find other labels from round 8 on."""
    shards = rc.data.Digits("train").split(rc.IID(4))
    learner = learner or rc.OnDrift(LEARNER, (watch,), window=64, **settings)
    agents = [
        rc.Agent(name, rc.data.Changing((s, rc.data.Relabelled(s, TURNED)), (SEEN,)) if name in turned else s, learner)
        for name, s in zip("abcd", shards, strict=True)
    ]
    task = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(32,)), num_classes=10)
    run = rc.RunConfig(num_rounds=rounds)
    return rc.Experiment(task, rc.Parties(tuple(agents)), (rc.Mean(),), TEST, run=run)


@pytest.fixture(scope="module")
def acted():
    return train(experiment())


def changes(done):
    return [(report.index, agent.agent, c.action, c.outcome) for report in done.reports for agent in report.agents
            for c in agent.changes]  # fmt: skip


def test_those_whose_labels_changed_branch_in_that_round_and_nobody_else_does(acted):
    assert changes(acted) == [(SEEN, "b", "Branch", "taken"), (SEEN, "d", "Branch", "taken")]
    note = acted.reports[SEEN - 1].notes[0]
    assert note.startswith("b, d: Branch taken: loss drifted: KolmogorovSmirnov")


def test_the_others_are_not_disturbed_where_they_would_be_without(acted):
    undisturbed = train(experiment(turned=()))
    plain = train(experiment(learner=LEARNER))
    before, with_action, without = (done.reports[-1].metrics["accuracy"] for done in (undisturbed, acted, plain))
    assert with_action > before - 0.03
    assert without < before - 0.2


def test_changes_are_rows_of_the_run_folder(tmp_path):
    run = replace(experiment(rounds=9), scaling=rc.ScalingConfig(pool="local"))
    result = rc.run_experiment(with_run(run, dir=str(tmp_path)))
    table = pq.read_table(f"{result.path}/changes.parquet").to_pylist()
    assert table == list(result.changes)
    assert [(row["round"], row["agent"], row["action"], row["outcome"]) for row in table] == [
        (SEEN, "b", "Branch", "taken"),
        (SEEN, "d", "Branch", "taken"),
    ]
    assert all(row["before"] > row["after"] for row in table)
    assert {row["drift"] > 1 for row in result.agents if row["round"] == SEEN} == {True, False}
    again = rc.run_experiment(with_run(run, dir=str(tmp_path)), resume=result.path)
    assert list(again.changes) == table


def test_nothing_is_written_where_nothing_was_changed(tmp_path):
    run = replace(experiment(turned=(), rounds=2), scaling=rc.ScalingConfig(pool="local"))
    result = rc.run_experiment(with_run(run, dir=str(tmp_path)))
    assert not RunFolder.open(result.path).storage.exists("changes.parquet")
    assert list(result.changes) == []


@pytest.mark.parametrize("stopped", [SEEN - 1, SEEN, SEEN + 1])
def test_killed_around_the_change_and_resumed_has_the_same_bits(acted, stopped):
    killed = Training(experiment(), num_hosts=2).steps(stopped)
    resumed = Training(experiment(), folder=killed.folder).finish()
    assert resumed.bits() == acted.bits()
    rows = resumed.folder.rows()
    assert [len(row.get("change_rows", ())) for row in rows] == [0] * (SEEN - 1) + [2] + [0] * 3


def test_a_branch_never_leaves_its_agent(acted):
    mine = acted.remembered("b")["learner"]["own"]["3.weight"]
    common = acted.driver.module().get_submodule("3").weight
    assert not torch.equal(mine, common)
    data = mine.contiguous().numpy().tobytes()
    tensors, _ = flatten(acted.driver.state_dict())
    assert not [1 for tensor in tensors.values() if data in tensor.contiguous().numpy().tobytes()]


def test_an_action_that_harms_the_shared_score_is_taken_back():
    """A far larger rate on labels that mean something else: the score falls, and the rate comes down again."""
    watch = rc.Watch("loss", KolmogorovSmirnov(), (RaiseRate(rounds=10, factor=4.0),))
    done = train(experiment(watch=watch, tolerance=0.05))
    taken = [change for change in changes(done) if change[1] == "b"]
    assert taken[0] == (SEEN, "b", "RaiseRate", "taken")
    assert taken[1][2:] == ("RaiseRate", "rolled back")
    assert taken[1][0] <= SEEN + 3


def test_a_window_larger_than_a_shard_is_refused_before_the_run_starts():
    with pytest.raises(rc.errors.RaycollabError, match=r"OnDrift\.window=400: must be <= 3\d\d, the shard's training"):
        Training(experiment(learner=rc.OnDrift(LEARNER, (WATCH,), window=400)))
