"""Rounds computed again from what parties kept of what they sent."""

import shutil
from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.checkpoint import RunFolder, load_state, save_state
from raycollab.ledger.audit import audited
from raycollab.recomputing import Recomputing

from .contracts.support import ONE_STEP, Training, digits

KEPT = rc.CheckpointConfig(updates=True, keep=3)
CHAIN = (rc.ClipNorm(0.5), rc.Mean(), rc.Momentum(0.9))


def trained(place, made, name="run"):
    folder = RunFolder.create(str(place), name)
    folder.write_text("experiment.yaml", "")
    Training(made, folder=folder).finish()
    return folder


def made(*chain, rounds=3, **settings):
    return digits(ONE_STEP, *(chain or CHAIN), rounds=rounds, num_agents=5, **{"checkpoint": KEPT, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs"), made())


def again(folder, experiment):
    return Recomputing(experiment, folder, audited(folder).rounds)


def test_every_round_comes_out_bit_for_bit(run):
    """With clipping on the agents and momentum on the driver, the first round and those after it."""
    recomputing = again(run, made())
    assert recomputing.reason_against() == ""
    assert recomputing.possible() == [1, 2, 3]
    assert [recomputing.check(index) for index in (1, 2, 3)] == [[], [], []]


def test_blocks_of_several_agents_come_out_too(tmp_path):
    experiment = made(run={"num_blocks": 2, "agents_per_round": 4})
    assert again(trained(tmp_path, experiment), experiment).check(2) == []


def test_an_update_that_was_changed_is_found(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    folder = RunFolder.open(str(tmp_path / "copy"))
    agents = folder.agents_of(2)
    kept = load_state(agents, "agent-3")
    kept["state"]["sent"]["vectors"]["delta"][0] += 1e-6
    save_state(agents, "agent-3", kept)
    (finding,) = again(folder, made()).check(2)
    assert str(finding) == "checkpoint 2, agent 'agent-3', field sent: it is not what the ledger says was sent"


def test_a_driver_that_made_something_else_of_them_is_found(tmp_path, monkeypatch):
    """One that gives an agent twice its weight, and writes down that it did not."""
    collect = rc.Mean.collect
    twice = lambda self, update, round: collect(  # noqa: E731
        self, replace(update, weight=update.weight * (1 + (update.agent == "agent-1"))), round
    )
    with monkeypatch.context() as patched:
        patched.setattr(rc.Mean, "collect", twice)
        folder = trained(tmp_path, made())
    (finding,) = again(folder, made()).check(2)
    assert str(finding).startswith("round 2, field model: what its parties sent makes another model")


@pytest.mark.parametrize(
    ("experiment", "reason"),
    [
        (made(checkpoint=rc.CheckpointConfig(keep=3)), "updates were not kept: set CheckpointConfig.updates=True"),
        (made(rc.Median()), "the rule is Median"),
        (made(rc.Mean(), upload=rc.BFloat16()), "BFloat16"),
    ],
)
def test_what_cannot_be_computed_again_is_said(run, experiment, reason):
    assert reason in again(run, experiment).reason_against()


def test_neighbouring_checkpoints_are_needed(tmp_path):
    experiment = made(checkpoint=rc.CheckpointConfig(updates=True, keep=1))
    folder = trained(tmp_path, experiment)
    assert "set CheckpointConfig.keep >= 2" in again(folder, experiment).reason_against()
    assert torch.is_tensor(folder.load_checkpoint(3)["vectors"]["3"]["params"])
