"""Runs in this process from `fit` to the folder: what is accepted, what callbacks hear, and what a resume finds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import raycollab as rc
from raycollab import fitting, on_ray
from raycollab.callbacks import Callback
from raycollab.data import Arrays
from raycollab.errors import ConfigError, RunFolderError

TASK = rc.Classification(rc.models.MLP(3, 2, (4,)), 2)
HEAD = rc.Exchange(exclude="3.*")
LOCAL = rc.ScalingConfig(pool="local")


def rows(seed, n=32):
    features = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Arrays({"features": features, "label": (features[:, 0] > 0).long()})


def agents(count=3):
    return [rc.Agent(f"party-{i}", rows(i), rc.SGD(lr=0.5)) for i in range(count)]


class Heard(Callback):
    def __init__(self):
        self.begun, self.started, self.results = [], [], []

    def on_begin(self, begun):
        self.begun.append(begun)

    def on_start(self, started):
        self.started.append(started)

    def on_end(self, result):
        self.results.append(result)


@pytest.fixture
def fit(tmp_path):
    """Fits for two rounds into the folder `run`, with settings changed."""

    def call(chain=rc.Mean(), members=None, num_rounds=2, target=None, **settings):  # noqa: B008 - frozen
        run = rc.RunConfig(dir=str(tmp_path), name="run", num_rounds=num_rounds, target=target)
        settings = {"test": rows(9), "task": TASK, "run": run, "scaling": LOCAL, **settings}
        return rc.fit(agents() if members is None else members, chain, **settings)

    return call


@pytest.mark.parametrize("chain", [rc.Mean(), (rc.ClipNorm(1e9), rc.Mean()), [rc.Mean()], rc.chain(rc.Mean())])
def test_a_rule_or_a_list_of_steps_is_a_chain(fit, chain):
    assert fit(chain).num_rounds == 2


def test_a_population_is_taken_as_it_is(fit):
    members = rc.Split(rows(0, 90), rc.IID(3), (rc.SGD(),))
    assert {row["agent"] for row in fit(members=members).agents} == {"party-0", "party-1", "party-2"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chain": rc.Mean}, r"chain: <class .*Mean'> is neither a Transform nor an Aggregator; give instances"),
        ({"chain": 3}, "chain: 3 is neither a Transform nor an Aggregator"),
        ({"upload": rc.BFloat16}, r"upload=<class .*>: must be a Codec and not its class, such as BFloat16\(\)"),
        ({"broadcast": rc.TopK(0.1)}, r"experiment.broadcast=TopK\(share=0.1\): must be a Codec, such as BFloat16\(\)"),
        ({"mode": "cyclic"}, r"experiment.mode='cyclic': must be a Mode, such as Synchronous\(\)"),
        ({"select": rc.Mean()}, r"experiment.select=Mean\(.*\): must be a Selection, such as Uniform\(\)"),
        ({"run": {"num_rounds": 3}}, r"experiment.run={'num_rounds': 3}: must be a RunConfig, such as RunConfig\("),
        ({"members": ["north"]}, r"agents='north': must be Agents"),
    ],
)  # fmt: skip
def test_what_belongs_there_is_said(fit, settings, message):
    with pytest.raises(ConfigError, match=message):
        fit(**settings)


def test_who_misbehaves_and_what_a_rule_tolerates_is_said_before_anything_starts(fit):
    heard = Heard()
    fit(rc.Krum(f=1), agents(6), attack=rc.Attack("sign_flip", 2), callbacks=[heard])
    (begun,) = heard.begun
    assert begun.pool == "local"
    assert begun.learners["party-0"] == "SGD"
    assert begun.notes == ("party-4, party-5 misbehave: sign_flip",)
    assert begun.warnings == ("Krum(f=1) tolerates 1 bad updates a round, and 2 agents are bad",)


def test_nothing_is_said_where_nobody_misbehaves_or_the_rule_tolerates_it(fit, tmp_path):
    heard = Heard()
    run = rc.RunConfig(dir=str(tmp_path), num_rounds=1)
    fit(rc.Krum(f=1), agents(6), callbacks=[heard], run=run)
    fit(rc.Krum(f=1), agents(6), callbacks=[heard], run=run, attack=rc.Attack("nan", 1))
    assert [(begun.notes, begun.warnings) for begun in heard.begun] == [((), ()), (("party-5 misbehaves: nan",), ())]


def test_a_private_head_is_named_and_a_partys_own_model_can_be_loaded(fit):
    """The own model of a party scores on its validation rows what the run says of it; the common model does not."""
    result = fit(exchange=HEAD, num_rounds=6)
    assert result.private == ("3.weight", "3.bias")
    model = Path(result.path) / "model"
    assert json.loads((model / "config.json").read_text())["private"] == ["3.weight", "3.bias"]
    assert "Not exchanged: 3.weight, 3.bias. Each agent has its own; in model/" in (model / "README.md").read_text()
    common, own = result.model(), [result.model(agent=f"party-{i}") for i in range(3)]
    for model in own:
        assert torch.equal(model.module[1].weight, common.module[1].weight)
        assert not torch.equal(model.module[3].weight, common.module[3].weight)
    assert not torch.equal(own[0].module[3].weight, own[1].module[3].weight)
    scores = [model.evaluate(rows(i)).compute()["loss"] for i, model in enumerate(own)]
    assert all(score < common.evaluate(rows(i)).compute()["loss"] for i, score in enumerate(scores))
    assert torch.equal(rc.load(result.path, agent="party-1").module[3].bias, own[1].module[3].bias)


def test_a_partys_own_model_that_there_is_not(fit):
    result = fit(exchange=HEAD)
    with pytest.raises(ConfigError, match="there is no agent 'nobody'; its agents: party-0, party-1, party-2"):
        result.model(agent="nobody")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no experiment\.yaml; give the folder of"):
        rc.load(f"{result.path}/model", agent="party-0")


@pytest.mark.parametrize("rounds", [1, None])
def test_a_partys_own_part_of_another_round_than_the_model_is_refused(fit, rounds):
    """As in a run that goes on, whose checkpoints are ahead of the model that its first end wrote, or that has none."""
    result = fit(exchange=HEAD)
    rc.load(result.path, agent="party-0")
    path = Path(result.path) / "result.json"
    if rounds:
        path.write_text(json.dumps({**json.loads(path.read_text()), "rounds": rounds}))
    else:
        path.unlink()
    message = rf"its model is of round {rounds or 0}, and what agent 'party-0' has for itself of round 2: the run"
    with pytest.raises(RunFolderError, match=message):
        rc.load(result.path, agent="party-0")
    rc.load(result.path)


def test_a_driver_may_be_quiet_while_it_runs_the_agents_of_several_versions():
    """Three attempts and two waits more, of 1000 + 2 * 100 s each; three times 4 versions with a staleness of 3."""
    policy = rc.FailureConfig(max_attempts=3, round_timeout_s=1000, start_timeout_s=100)
    assert on_ray.longest_silence_s(policy, rc.Synchronous()) == 5 * 1200
    assert on_ray.longest_silence_s(policy, rc.Buffered(2, max_staleness=3)) == 14 * 1200
    assert on_ray.longest_silence_s(replace(policy, round_timeout_s=1), rc.Cyclic()) == 3600


def test_nothing_is_private_where_everything_is_exchanged(fit):
    result = fit()
    assert result.private == ()
    assert "Not exchanged" not in (Path(result.path) / "model" / "README.md").read_text()
    with pytest.raises(ConfigError, match=r"agent 'party-0' has no private part in the checkpoint of round 2: nothing"):
        result.model(agent="party-0")


@pytest.fixture
def nothing_starts(monkeypatch):
    """Neither pool may be started any more, once it is called."""

    def refuse():
        for name in ("_local_events", "ray_events"):
            monkeypatch.setattr(fitting, name, lambda *_: pytest.fail("something was started"))

    return refuse


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "already finished after 2 rounds: num_rounds=2; give --run.num_rounds > 2 to go further"),
        (
            {"target": "accuracy >= 0", "num_rounds": 9},
            "already finished after 1 rounds: target accuracy >= 0; give another --run.target, "
            "or --run.target=null for all rounds, to go further",
        ),
    ],
)
def test_a_resume_with_nothing_to_do_starts_nothing(fit, nothing_starts, settings, said):
    first, heard = fit(exchange=HEAD, **settings), Heard()
    nothing_starts()
    again = fit(exchange=HEAD, **settings, resume=first.path, scaling=rc.ScalingConfig(), callbacks=[heard])
    (begun,) = heard.begun
    assert (begun.pool, begun.notes, heard.started, heard.results) == ("", (said,), [], [again])
    assert again.statistics.compute() == first.statistics.compute()
    assert replace(again, statistics=first.statistics) == replace(first, private=list(first.private))


def test_a_resume_that_has_something_to_do_does_it(fit, nothing_starts):
    """More rounds; a folder that lacks its result, as of a run that was killed while it was written; or its model."""
    first = fit()
    longer = fit(num_rounds=3, resume=first.path)
    assert longer.num_rounds == 3
    for lost in ("result.json", "model/model.safetensors"):
        (Path(first.path) / lost).unlink()
        assert fit(num_rounds=3, resume=first.path).metrics == longer.metrics
        assert (Path(first.path) / lost).exists()
    nothing_starts()
    assert fit(num_rounds=2, resume=first.path).stop_reason == "num_rounds=2"  # fewer than it has: nothing to do
