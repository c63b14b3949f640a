"""Every kind in runs: the same bits for any number of hosts and after a restart; who is harmed, and who is not."""

import json

import pytest
import torch

import raycollab as rc
from raycollab.attacks.attack import KINDS
from raycollab.cli import main

from ..contracts.support import DIGITS, ONE_STEP, TEST, Training, digits, experiment, train

each_kind = pytest.mark.parametrize("kind", KINDS)


def attacked(kind, *chain, **settings):
    settings.setdefault("rounds", 2)
    return digits(settings.pop("learner", ONE_STEP), *chain, attack=rc.Attack(kind, num_agents=2), **settings)


@each_kind
def test_same_seed_same_bits(kind):
    """On one host and on four; another seed has others."""
    one = train(attacked(kind))
    assert train(attacked(kind), num_hosts=4).bits() == one.bits()
    assert train(attacked(kind, run={"seed": 1})).bits() != one.bits()
    assert not torch.equal(one.params, train(digits(ONE_STEP)).params)
    failed = {failure.agent for report in one.reports for failure in report.failures}
    assert failed == ({"agent-6", "agent-7"} if kind == "nan" else set())


@each_kind
def test_restart(kind):
    """Killed after round 3, when the newest checkpoint is of round 2; half of the agents in every round."""
    settings = {"rounds": 4, "checkpoint": rc.CheckpointConfig(every=2), "run": {"agents_per_round": 5}}
    killed = Training(attacked(kind, **settings)).steps(3)
    resumed = Training(attacked(kind, **settings), folder=killed.folder)
    assert resumed.driver.version == 2
    assert resumed.finish().bits() == train(attacked(kind, **settings)).bits()


@pytest.mark.parametrize(("kind", "strength"), [("sign_flip", 10.0), ("ipm", 10.0)])
def test_the_mean_is_harmed_and_the_median_is_not(kind, strength):
    """Two of eight; 10 rounds reach more than 0.85 without an attack."""

    def accuracy(rule, attack):
        agents = rc.data.Digits("train").split(rc.IID(8))
        learner = rc.SGD(lr=0.2, epochs=1, batch_size=8)
        made = [rc.Agent(f"agent-{i}", shard, learner) for i, shard in enumerate(agents)]
        done = train(experiment(made, rule, task=DIGITS, test=TEST, rounds=10, attack=attack, run={"eval_every": 10}))
        return done.driver.statistics.compute()["accuracy"]

    bad = rc.Attack(kind, num_agents=2, strength=strength)
    assert accuracy(rc.Mean("uniform"), rc.Attack()) > 0.85
    assert accuracy(rc.Mean("uniform"), bad) < 0.3
    assert accuracy(rc.Median(), bad) > 0.85


@each_kind
def test_from_the_command_line(kind, tmp_path, capsys):
    arguments = [f"--attack.kind={kind}", "--attack.num_agents=2", f"--run.dir={tmp_path}", "--run.name=bad"]
    assert main(["run", "--scaling.pool=local", "--run.num_rounds=2", "--run.target=null", *arguments]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "bad" / "result.json").read_text())["rounds"] == 2
    assert f"kind: {kind}" in (tmp_path / "bad" / "experiment.yaml").read_text()
    assert main(["resume", str(tmp_path / "bad"), "--run.num_rounds=3"]) == 0  # the folder's own pool: local
    assert json.loads((tmp_path / "bad" / "result.json").read_text())["rounds"] == 3
    assert main(["resume", str(tmp_path / "bad"), "--run.num_rounds=4", "--attack.num_agents=1"]) == 1
    assert "attack.num_agents: 2 -> 1" in capsys.readouterr().err
