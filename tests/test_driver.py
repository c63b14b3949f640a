"""The rounds, with real agents in this process where they matter, and with a pool that does as it is told elsewhere."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean, Node
from raycollab.chains import chain
from raycollab.checkpoint import RunFolder
from raycollab.config import CheckpointConfig, FailureConfig, RunConfig
from raycollab.data import Arrays
from raycollab.driver import Driver
from raycollab.errors import ConfigError, DataError, QuorumError, RunFolderError, TaskMismatchError, UpdateError
from raycollab.experiment import Experiment
from raycollab.learners import SGD, Learner
from raycollab.metrics import Average, Statistics
from raycollab.models import MLP
from raycollab.params import Exchange
from raycollab.population import Parties
from raycollab.runtime.layout import Block
from raycollab.runtime.pool import LocalPool, Pool, collect
from raycollab.runtime.sharing import ShareResult
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.tasks import Classification
from raycollab.transforms import Momentum
from raycollab.types import AgentCard, AgentReport, Assignment, Failure, OwnScores, Round, Update

TASK = Classification(MLP(3, 2, ()), 2)
NAMES = ("a", "b", "c")


def rows(seed, n=16):
    features = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Arrays({"features": features, "label": (features[:, 0] > 0).long()})


LEARNER, RULE = SGD(lr=0.1), Mean()


def experiment(learners=(LEARNER,) * 3, rule=(RULE,), **settings):
    agents = Parties(tuple(Agent(name, rows(i), learners[i]) for i, name in enumerate(NAMES)))
    settings = {"run": RunConfig(num_rounds=3), **settings}
    return Experiment(settings.pop("task", TASK), agents, tuple(rule), rows(9, 64), **settings).resolved()


def local(path, made):
    """A driver in the folder `path`, opened if it is there; made, not started."""
    folder = RunFolder.open(str(path)) if path.exists() else RunFolder.create(str(path.parent), path.name)
    folder.write_text("experiment.yaml", "")
    pool = LocalPool(made.session(), made.members(), made.layout(num_cpus=1))
    return Driver(made.plan(), pool, folder)


class Scripted(Pool):
    """Each agent adds 1 to every parameter, except where the script says who fails and what is sent."""

    def __init__(self, fails=(), value=1.0, outcomes=None):
        self.fails = [set(names) for names in fails]  # one entry a run, in order
        self.value = value
        self.outcomes = outcomes
        self.rounds = []
        self.assigned = []

    def open(self, offer):
        return self.outcomes or [AgentCard(name, 1, "", "") for name in NAMES]

    def add(self, agent, offer, slot):
        return AgentCard(agent.name, 1, "", "")

    def run(self, round, assignments, *, enough=None, stop=lambda: False):
        self.rounds.append(round)
        self.assigned.append([assignment.agent for assignment in assignments])
        failing = self.fails.pop(0) if self.fails else set()
        results = []
        for index, name in enumerate(assignment.agent for assignment in assignments):
            if name in failing:
                failure = Failure(name, "OutOfMemoryError", f"no memory for {name}")
                results.append(ShareResult((Node(0, index, None),), (), (failure,), (0, 0, 0)))
                continue
            update = Update(name, 2.0, {DELTA: torch.full_like(round.vectors[PARAMS], self.value)})
            report = AgentReport(name, examples=2, loss=0.5, weight=2.0)
            node = Node(0, index, Mean().collect(update, round))
            results.append(ShareResult((node,), (report,), (), (0, 0, 0)))
        blocks = [Block(index, (assignment,)) for index, assignment in enumerate(assignments)]
        return collect(results, blocks, bytes_up=10, bytes_down=20)

    def ask(self, messages, round):
        return {}

    def validate(self, round, last_rounds):
        loss = Statistics.of({"loss": Average("loss", 1.0, 1.0)})
        return {name: OwnScores(loss, Statistics.empty()) for name in last_rounds}

    def save(self, storage, last_rounds):
        return list

    def restore(self, storage, names):
        pass

    def close(self):
        pass


def scripted(tmp_path, pool, **settings):
    driver = Driver(experiment(**settings).plan(), pool, RunFolder.create(str(tmp_path / "runs")))
    driver.start()
    return driver


@dataclass(frozen=True)
class Scored(Classification):
    """Reports these accuracies, one an evaluation, whatever the model is."""

    scores: tuple[float, ...] = ()

    def evaluate(self, model, batches):
        score = self.scores[min(SEEN[0], len(self.scores) - 1)]
        SEEN[0] += 1
        return Statistics.of({"accuracy": Average("accuracy", score, 1.0)})


SEEN = [0]


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN[0] = 0


def scored(*scores):
    return Scored(MLP(3, 2, ()), 2, scores=scores)


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


def test_stops_after_num_rounds(tmp_path):
    driver = scripted(tmp_path, Scripted())
    assert [report.index for report in driver.rounds()] == [1, 2, 3]
    assert driver.stop_reason == "num_rounds=3"
    assert list(driver.rounds()) == []


def test_stops_at_the_target(tmp_path):
    run = RunConfig(num_rounds=9, target="accuracy >= 0.8")
    driver = scripted(tmp_path, Scripted(), task=scored(0.5, 0.7, 0.8, 0.9), run=run)
    assert len(list(driver.rounds())) == 3
    assert driver.stop_reason == "target accuracy >= 0.8"


def test_stops_when_patience_is_over(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(0.5, 0.7, 0.7, 0.6, 0.9), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 4
    assert driver.stop_reason == "no better accuracy in 2 evaluations"


def test_patience_begins_again_with_every_better_score(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(0.5, 0.4, 0.6, 0.5, 0.7, 0.1, 0.1), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 7


def test_a_score_that_is_none_is_no_better_and_no_best(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(math.nan, 0.5, math.nan, 0.4, 0.9), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 4


def test_a_target_that_no_task_reports(tmp_path):
    """Before round 1, so that no work is lost."""
    with pytest.raises(
        ConfigError, match="target metric 'acc' is not reported by this task; it reports: accuracy, auc"
    ):
        scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9, target="acc >= 0.8"))


@pytest.mark.parametrize(("every", "num_rounds", "evaluated"), [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (9, 3, [3])])
def test_evaluates_when_due_and_at_the_end(tmp_path, every, num_rounds, evaluated):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=num_rounds, eval_every=every))
    reports = list(driver.rounds())
    assert [report.index for report in reports if report.metrics] == evaluated
    assert [report.index for report in reports if report.own_metrics] == evaluated


@pytest.mark.parametrize(("every", "keep", "kept"), [(1, 2, [2, 3]), (2, 2, [2, 3]), (9, 1, [3])])
def test_checkpoints_when_due_and_at_the_end(tmp_path, every, keep, kept):
    driver = scripted(tmp_path, Scripted(), checkpoint=CheckpointConfig(every=every, keep=keep))
    list(driver.rounds())
    assert driver.folder.storage.list_dirs("checkpoints") == [f"{index:06d}" for index in kept]


RESUMED = {
    "plain": {},
    "sampled": {"run": RunConfig(num_rounds=4, agents_per_round=2, seed=3)},
    "stateful": {
        "learners": (SGD(momentum=0.9, keep_momentum=True), SGD(), SGD(momentum=0.5, keep_momentum=True)),
        "rule": (Mean(), Momentum(0.9)),
        "exchange": Exchange(include=("1.weight",)),
    },
}


@pytest.mark.parametrize("settings", RESUMED.values(), ids=RESUMED)
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_run_goes_on_as_if_it_had_never_stopped(tmp_path, settings, killed_after):
    made = experiment(**{"run": RunConfig(num_rounds=4), **settings})
    whole = local(tmp_path / "whole", made)
    whole.start()
    list(whole.rounds())
    first = local(tmp_path / "killed", made)
    first.start()
    for _ in range(killed_after):
        first.step()
    second = local(tmp_path / "killed", made)
    second.start()
    assert second.version == killed_after
    reports = list(second.rounds())
    assert not any(agent.fresh for report in reports for agent in report.agents)
    for name, vector in whole.vectors.items():
        assert torch.equal(second.vectors[name], vector)
    assert second.statistics == whole.statistics

    def decided(driver):
        hidden = ("seconds", "agent_rows")
        return [{name: value for name, value in row.items() if name not in hidden} for row in driver.folder.rows()]

    assert decided(second) == decided(whole)


def test_rounds_after_the_last_durable_state_are_run_again(tmp_path):
    made = experiment(run=RunConfig(num_rounds=4), checkpoint=CheckpointConfig(every=2))
    first = local(tmp_path / "run", made)
    first.start()
    for _ in range(3):
        first.step()
    second = local(tmp_path / "run", made)
    second.start()
    assert second.version == 2
    assert [row["round"] for row in second.folder.rows()] == [1, 2]
    second.step()
    assert torch.equal(second.vectors[PARAMS], first.vectors[PARAMS])


def test_an_ended_run_stays_ended_and_keeps_its_metrics(tmp_path):
    made = experiment()
    first = local(tmp_path / "run", made)
    first.start()
    list(first.rounds())
    second = local(tmp_path / "run", made)
    second.start()
    assert second.stop_reason == "num_rounds=3"
    assert list(second.rounds()) == []
    assert second.statistics == first.statistics


@pytest.mark.parametrize(
    ("before", "after", "more", "reason"),
    [
        ({"num_rounds": 2}, {"num_rounds": 4}, 2, "num_rounds=4"),
        ({"num_rounds": 4}, {"num_rounds": 2}, 0, "num_rounds=2"),
        ({"target": "accuracy >= 0.7"}, {"target": "accuracy >= 0.9"}, 2, "target accuracy >= 0.9"),
        ({"target": "accuracy >= 0.7"}, {}, 7, "num_rounds=9"),
        ({"target": "accuracy >= 0.7"}, {"target": "accuracy >= 0.6"}, 0, "target accuracy >= 0.6"),
        ({"patience": 1}, {"patience": 2}, 2, "target accuracy >= 0.9"),
    ],
)
def test_what_ends_a_run_may_change_when_it_goes_on(tmp_path, before, after, more, reason):
    """Accuracies 0.5, 0.7, then 0.8, 0.9 and 0.9; with patience it is 0.7 first."""
    scores = (0.7, 0.5, 0.8, 0.9) if "patience" in before else (0.5, 0.7, 0.8, 0.9)
    after = {"target": "accuracy >= 0.9", **after} if "patience" in before else after

    def driver(settings):
        made = experiment(task=scored(*scores), run=RunConfig(**{"num_rounds": 9, **settings}))
        path = tmp_path / "run"
        folder = RunFolder.open(str(path)) if path.exists() else RunFolder.create(str(tmp_path), "run")
        folder.write_text("experiment.yaml", "")
        made = Driver(made.plan(), Scripted(), folder)
        made.start()
        return made

    first = driver(before)
    list(first.rounds())
    second = driver(after)
    assert len(list(second.rounds())) == more
    assert second.stop_reason == reason


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    first = local(tmp_path / "run", experiment())
    first.start()
    first.step()
    other = local(tmp_path / "run", experiment(task=Classification(MLP(3, 2, (5,)), 2)))
    with pytest.raises(
        RunFolderError, match="the checkpoint is of a model with other parameters; resume with the experi"
    ):
        other.start()


def outcomes(*failed, error="DataError"):
    return [Failure(n, error, f"agent {n!r}: no file") if n in failed else AgentCard(n, 1, "", "") for n in NAMES]


@pytest.mark.parametrize(
    ("policy", "error", "kind"), [("replace", "DataError", DataError), ("stop", "TaskMismatchError", TaskMismatchError)]
)
def test_agents_that_cannot_start_are_all_named(tmp_path, policy, error, kind):
    pool = Scripted(outcomes=outcomes("a", "c", error=error))
    with pytest.raises(kind, match=r"2 of 3 agents could not start:\n  a: agent 'a': no file\n  c: agent 'c': no file"):
        scripted(tmp_path, pool, failure=FailureConfig(on_agent_failure=policy))


def test_of_many_agents_that_cannot_start_each_kind_of_failure_is_shown_once(tmp_path):
    """3,000 parts of 1,438 rows: three lines and two counts, not 3,000 lines."""
    empty = [
        Failure(f"p-{i}", "DataError", f"agent 'p-{i}': part {i} of 3000: 0 examples are left") for i in range(2996)
    ]
    others = [Failure(f"q-{i}", "DataError", f"agent 'q-{i}': no {what}") for i, what in enumerate("abcc")]
    with pytest.raises(DataError) as caught:
        scripted(tmp_path, Scripted(outcomes=[*empty, *others]))
    assert str(caught.value) == (
        "3000 of 3000 agents could not start:\n"
        "  p-0: agent 'p-0': part 0 of 3000: 0 examples are left (2,995 more like this)\n"
        "  q-0: agent 'q-0': no a\n"
        "  q-1: agent 'q-1': no b\n"
        "  ... and 2 others"
    )


def test_agents_that_cannot_start_may_be_skipped(tmp_path):
    pool = Scripted(outcomes=outcomes("b"))
    driver = scripted(tmp_path, pool, failure=FailureConfig(on_agent_failure="skip"))
    driver.step()
    assert pool.assigned == [["a", "c"]]
    with pytest.raises(DataError, match="2 of 3 agents could not start"):
        scripted(
            tmp_path,
            Scripted(outcomes=outcomes("a", "b")),
            failure=FailureConfig(on_agent_failure="skip", min_agents=2),
        )


@pytest.mark.parametrize(
    ("settings", "column", "value", "message"),
    [
        ({}, "label", 7, r"^the shared test set: arrays \(64 examples\): row 0 has label 7"),
        ({}, "features", math.nan, r"^the shared test set: arrays \(64 examples\): row 0 of column 'features'"),
        ({"bad_rows": "drop"}, "features", math.nan, "^the shared test set: .*: 0 examples"),
    ],
)
def test_the_shared_set_is_checked(tmp_path, settings, column, value, message):
    columns = rows(9, 64).read()
    bad = Arrays({**columns, column: torch.full_like(columns[column], value)})
    made = replace(experiment(task=replace(TASK, **settings)), test=bad)
    with pytest.raises(DataError, match=message):
        Driver(made.plan(), Scripted(), RunFolder.create(str(tmp_path))).start()


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
