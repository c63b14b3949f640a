"""Hosts in actors: the same bits as in one process, and what becomes of those that die or are late."""

import sys

import pytest
import ray
import torch

from raycollab.errors import RunFolderError
from raycollab.fitting import run_experiment
from raycollab.storage import Storage

from . import support
from .support import STATEFUL, OnRay, Witness, experiment, locally, moody

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def bits(driver):
    return {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()}


def failures(report):
    return {failure.agent: failure.error for failure in report.failures}


def test_the_number_of_hosts_changes_no_bit(digits):
    """Eight agents, some with momentum of their own, Momentum on the driver: 1, 2, 8 actors and this process agree."""
    weights, own = {}, {}
    for hosts in (1, 2, 8):
        settings = (f"run.name=ray-{hosts}", f"scaling.agents_per_host={8 // hosts}", "run.num_rounds=3")
        result = run_experiment(digits(*settings))
        weights[hosts] = {name: t.clone() for name, t in result.model().module.state_dict().items()}
        own[hosts] = [(row["agent"], row["loss"], row["norm"], row["val_accuracy"]) for row in result.agents]
    assert ray.is_initialized()  # the cluster was there before, and is left as it was found
    local = run_experiment(digits("scaling.pool=local", "run.num_rounds=3", "run.name=local"))
    reference = local.model().module.state_dict()
    for hosts, found in weights.items():
        assert all(torch.equal(found[name], tensor) for name, tensor in reference.items()), f"{hosts} hosts"
        assert own[hosts] == [(row["agent"], row["loss"], row["norm"], row["val_accuracy"]) for row in local.agents]


def test_a_dead_actor_costs_its_agents_one_round(tmp_path):
    """Dying by itself or killed from outside equals failing in that round: replaced, its memory restored, and named."""
    with OnRay(experiment(moody("die"), STATEFUL, moody("raise", 4)), tmp_path) as on_ray:
        first, second, third = (on_ray.driver.step() for _ in range(3))
        on_ray.kill(1)
        fourth = on_ray.driver.step()
        found = bits(on_ray.driver)
    assert not first.failures
    assert not third.failures
    assert failures(second) == {"agent-0": "ActorDiedError"}
    assert failures(fourth) == {"agent-1": "ActorDiedError", "agent-2": "RoundStopped"}
    assert {report.agent for report in third.agents} == {"agent-0", "agent-1", "agent-2"}
    assert not any(report.fresh for report in third.agents)  # what it remembered came back
    same = locally(experiment(moody("raise"), moody("raise", 4), moody("raise", 4)), tmp_path)
    assert [failures(report) for report in same.rounds()] == [
        {}, {"agent-0": "RoundStopped"}, {}, {"agent-1": "RoundStopped", "agent-2": "RoundStopped"},
    ]  # fmt: skip
    assert found == bits(same)


def test_a_late_agent_is_left_out_and_comes_back(tmp_path):
    """It is cut off by round_timeout_s, told to stop, keeps its process and its memory, and is there next round."""
    with OnRay(experiment(STATEFUL, moody("dawdle"), round_timeout_s=5), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(3)]
        found = bits(on_ray.driver)
    assert [failures(report) for report in reports] == [{}, {"agent-1": "Timeout"}, {}]
    assert "no answer within 5 s" in reports[1].failures[0].message
    assert 5 <= reports[1].seconds < 20
    assert not any(report.fresh for report in reports[2].agents)
    same = locally(experiment(STATEFUL, moody("raise")), tmp_path)
    for _ in range(3):
        same.step()
    assert found == bits(same)


def test_agents_share_hosts_and_compute_with_the_threads_asked_for(tmp_path):
    witnesses = [Witness(lr=0.1)] * 4
    with OnRay(experiment(*witnesses, agents_per_host=2, threads_per_host=2), tmp_path) as on_ray:
        reports = {report.agent: report for report in on_ray.driver.step().agents}
    process = {name: report.examples for name, report in reports.items()}
    assert process["agent-0"] == process["agent-1"]
    assert process["agent-2"] == process["agent-3"]
    assert process["agent-0"] != process["agent-2"]
    assert {report.loss for report in reports.values()} == {2}


def test_states_that_cannot_be_written_or_read_end_the_run(tmp_path):
    """A checkpoint without the agents' states would resume to other bits, so it is never committed."""
    (tmp_path / "file").write_text("no folder")
    with OnRay(experiment(STATEFUL), tmp_path) as on_ray:
        on_ray.driver.step()
        with pytest.raises(RunFolderError, match=r"file/agents/agent-0.safetensors: .* RunConfig.dir"):
            on_ray.pool.save(Storage(str(tmp_path / "file" / "agents")), {"agent-0": 1})
        kept = on_ray.driver.folder.agents_of(1)
        kept.write_bytes("agent-0.safetensors", b"damaged")
        with pytest.raises(RunFolderError, match=r"agent-0.safetensors is damaged: .* delete this file"):
            on_ray.pool.restore(kept, ["agent-0"])
