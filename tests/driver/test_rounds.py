"""Rounds, with real agents in this process where they matter, and with a pool that does as it is told elsewhere."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.aggregation import Mean
from raycollab.chains import chain
from raycollab.checkpoint import RunFolder
from raycollab.config import FailureConfig, RunConfig
from raycollab.driver import Driver
from raycollab.errors import QuorumError, UpdateError
from raycollab.learners import SGD, Learner
from raycollab.population import Parties
from raycollab.runtime.pool import LocalPool
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.transforms import Momentum
from raycollab.types import Assignment, Failure, Round, Update

from .support import NAMES, Scripted, experiment, local, scripted


def test_a_round_adds_the_mean_of_the_deltas(tmp_path):
    driver = scripted(tmp_path, Scripted())
    before = {name: vector.clone() for name, vector in driver.vectors.items()}
    kept = driver.vectors
    report = driver.step()
    assert torch.equal(driver.vectors[PARAMS], before[PARAMS] + 1)
    assert torch.equal(kept[PARAMS], before[PARAMS])  # what was committed before is not written into
    assert (report.index, report.attempts, report.bytes_up, report.bytes_down) == (1, 1, 10, 20)
    assert report.train_loss == 0.5
    assert [agent.agent for agent in report.agents] == list(NAMES)
    assert driver.version == 1


def test_what_is_broadcast(tmp_path):
    pool = Scripted()
    driver = scripted(tmp_path, pool, run=RunConfig(num_rounds=2, agents_per_round=2, seed=5))
    list(driver.rounds())
    first, second = pool.rounds
    assert (first.index, first.base_version, first.attempt, first.seed) == (1, 0, 0, 5)
    assert (second.index, second.base_version) == (2, 1)
    assert first.fingerprint == driver.offer.fingerprint.digest()
    assert first.scalars["participation"] == 2 / 3
    assert set(first.vectors) == {PARAMS, BUFFERS}
    assert [len(names) for names in pool.assigned] == [2, 2]


def test_vectors_that_learners_need_start_at_zero_and_are_added_to(tmp_path):
    class Control(Scripted):
        def run(self, round, assignments, **settings):
            got = super().run(round, assignments, **settings)
            vectors = {
                DELTA: round.vectors[PARAMS] * 0,
                "control": round.vectors["control"] + 1,
                "unknown": torch.ones(1),
            }
            return replace(got, total=Mean().collect(Update("", 1.0, vectors), round))

    plan = replace(experiment(run=RunConfig(num_rounds=3)).plan(), needs=("control",))
    driver = Driver(plan, Control(), RunFolder.create(str(tmp_path)))
    driver.start()
    assert driver.vectors["control"].tolist() == [0.0] * 8
    list(driver.rounds())
    assert driver.vectors["control"].tolist() == [7.0] * 8  # c = 2 c + 1
    assert set(driver.vectors) == {PARAMS, BUFFERS, "control"}


def test_learning_works_and_says_so(tmp_path):
    driver = local(tmp_path / "run", experiment(run=RunConfig(num_rounds=5), learners=(SGD(lr=1.0),) * 3))
    driver.start()
    reports = list(driver.rounds())
    assert reports[-1].metrics["accuracy"] > 0.9
    assert reports[-1].train_loss < reports[0].train_loss
    assert set(reports[0].own_metrics) == set(NAMES)
    assert reports[-1].stop_reason == driver.stop_reason == "num_rounds=5"
    rows_ = driver.folder.rows()
    assert [row["round"] for row in rows_] == [1, 2, 3, 4, 5]
    assert rows_[-1]["accuracy"] == reports[-1].metrics["accuracy"]
    assert [agent["agent"] for agent in rows_[0]["agent_rows"]] == list(NAMES)


def test_the_mean_of_one_agent_is_that_agent(tmp_path):
    """Tolerance: weight * delta / weight rounds, and so does the difference of two vectors."""
    made = experiment(run=RunConfig(num_rounds=1))
    alone = replace(made, agents=Parties((made.members()[0],)), run=RunConfig(num_rounds=1)).resolved()
    driver = local(tmp_path / "run", alone)
    driver.start()
    start = driver.vectors
    pool = LocalPool(alone.session(), alone.members(), alone.layout(num_cpus=1))
    pool.open(driver.offer)
    sent = Round(1, 0, 0, start, fingerprint=driver.offer.fingerprint.digest())
    delta = pool.run(sent, [Assignment("a", 0)]).total.mean().vectors[DELTA]
    driver.step()
    torch.testing.assert_close(driver.vectors[PARAMS] - start[PARAMS], delta, rtol=0, atol=1e-6)


def test_a_missed_quorum_is_tried_again_and_then_ends_the_run(tmp_path):
    failure = FailureConfig(min_agents=2, max_attempts=2)
    pool = Scripted(fails=[{"a", "b"}, {"b", "c"}])
    driver = scripted(tmp_path, pool, failure=failure)
    before = driver.vectors[PARAMS].clone()
    message = (
        r"round 1: 1 of 3 agents answered .*2 attempts, min_agents=2 needs 2; first failure: agent 'a': no memory for a"
    )
    with pytest.raises(QuorumError, match=message):
        driver.step()
    assert driver.version == 0
    assert torch.equal(driver.vectors[PARAMS], before)
    assert driver.folder.rows() == []
    assert [round.attempt for round in pool.rounds] == [0, 1]


def test_a_second_attempt_may_succeed(tmp_path):
    driver = scripted(tmp_path, Scripted(fails=[{"a", "b"}]), failure=FailureConfig(min_agents=0.5))
    report = driver.step()
    assert report.attempts == 2
    assert len(report.agents) == 3
    assert driver.version == 1


def test_who_answered_in_the_end_was_not_left_out(tmp_path):
    driver = scripted(tmp_path, Scripted(fails=[{"a", "b"}]), failure=FailureConfig(min_agents=2))
    assert driver.step().failures == ()


def test_failed_agents_do_not_shorten_the_step(tmp_path):
    driver = scripted(tmp_path, Scripted(fails=[{"b"}]))
    before = driver.vectors[PARAMS]
    report = driver.step()
    assert torch.equal(driver.vectors[PARAMS], before + 1)
    assert report.failures == (Failure("b", "OutOfMemoryError", "no memory for b", "left out of this round"),)
    assert report.attempts == 1


def test_nobody_answers(tmp_path):
    with pytest.raises(QuorumError, match="round 1: 0 of 3 agents answered"):
        scripted(tmp_path, Scripted(fails=[set(NAMES)] * 3)).step()


def test_the_first_failure_ends_the_run_if_asked_to(tmp_path):
    driver = scripted(tmp_path, Scripted(fails=[{"c"}]), failure=FailureConfig(on_agent_failure="stop"))
    with pytest.raises(
        QuorumError, match=r"round 1: agent 'c': no memory for c; the run ends because on_agent_failure='stop'"
    ):
        driver.step()


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_a_merged_value_that_is_not_finite_is_never_committed(tmp_path, value):
    driver = scripted(tmp_path, Scripted(value=value))
    before = driver.vectors[PARAMS].clone()
    with pytest.raises(UpdateError, match=r"round 1: the merged 'params' is not finite; the round is not committed"):
        driver.step()
    assert driver.version == 0
    assert torch.equal(driver.vectors[PARAMS], before)
    assert driver.folder.rows() == []
    assert driver.folder.latest_checkpoint() is None


def test_a_poisoned_agent_is_kept_out_and_the_others_go_on(tmp_path):
    @dataclass(frozen=True)
    class Poison(Learner):
        def update(self, problem, params, state, round):
            return Update(problem.agent, 1.0, {DELTA: torch.full_like(params, math.nan)}), {}

    driver = local(tmp_path / "run", experiment(learners=(SGD(), Poison(), SGD())))
    driver.start()
    report = driver.step()
    assert [agent.agent for agent in report.agents] == ["a", "c"]
    assert [failure.error for failure in report.failures] == ["UpdateError"]
    assert torch.isfinite(driver.vectors[PARAMS]).all()


def test_hosts_score_while_the_driver_does(tmp_path, monkeypatch):
    """They are asked first, and waited for last; the round after begins only then."""
    pool, score = Scripted(), SharedSet.score
    monkeypatch.setattr(SharedSet, "score", lambda self, *a, **k: pool.log.append("scored") or score(self, *a, **k))
    driver = scripted(tmp_path, pool, run=RunConfig(num_rounds=4, eval_every=2))
    reports = [driver.step() for _ in range(2)]
    assert pool.log == ["asked", "scored", "waited"]
    assert [bool(report.own_metrics) for report in reports] == [False, True]


def test_the_module_holds_the_committed_vectors(tmp_path):
    driver = scripted(tmp_path, Scripted())
    driver.step()
    flat = torch.cat([p.detach().reshape(-1) for p in driver.module().parameters()])
    assert torch.equal(flat, driver.vectors[PARAMS])


def test_the_chain_of_the_plan_is_used(tmp_path):
    driver = scripted(tmp_path, Scripted(), rule=chain(Mean(), Momentum(0.5)).steps)
    before = driver.vectors[PARAMS]
    driver.step()
    driver.step()
    torch.testing.assert_close(driver.vectors[PARAMS], before + 2.5)  # 1, then 0.5 + 1
