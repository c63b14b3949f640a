"""Hosts in actors: the same bits as in one process, and what becomes of those that die or are late."""

import sys
import time
from dataclasses import replace

import pytest
import ray
import torch

from raycollab.checkpoint import load_state
from raycollab.errors import ResourceError, RunFolderError
from raycollab.fitting import run_experiment
from raycollab.modes import Synchronous
from raycollab.runtime.wire import pack_vectors
from raycollab.storage import Storage

from . import support
from .support import STATEFUL, Occupant, OnRay, Witness, experiment, locally, moody

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def bits(driver):
    return {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()}


def failures(report):
    return {failure.agent: failure.error for failure in report.failures}


def test_the_number_of_hosts_changes_no_bit(digits):
    """Eight agents, some with momentum of their own, Momentum on the driver: 2 actors, 8 and this process agree."""
    weights, own = {}, {}
    for hosts in (2, 8):
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


def test_scores_and_the_next_round_share_a_broadcast(tmp_path, monkeypatch):
    """Two rounds that are scored: three versions are packed and put into the store, each once."""
    packed = []

    def watched(round, codec):
        packed.append(round.base_version)
        return pack_vectors(round, codec)

    monkeypatch.setattr("raycollab.runtime.ray_pool.pack_vectors", watched)
    with OnRay(experiment(STATEFUL, STATEFUL), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(2)]
    assert [len(report.own_metrics) for report in reports] == [2, 2]
    assert packed == [0, 1, 2]


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


def test_an_actor_that_ray_killed_for_memory_is_replaced(tmp_path, monkeypatch):
    """Ray answers every later call to it with OutOfMemoryError, which is no RayActorError. Only the answer is faked."""
    real = ray.get
    with OnRay(experiment(STATEFUL, STATEFUL), tmp_path) as on_ray:
        on_ray.driver.step()
        on_ray.kill(1)

        def get(ref, **settings):
            try:
                return real(ref, **settings)
            except ray.exceptions.ActorDiedError as error:
                raise ray.exceptions.OutOfMemoryError("the node ran out of memory") from error

        monkeypatch.setattr(ray, "get", get)
        second, third = on_ray.driver.step(), on_ray.driver.step()
    assert failures(second) == {"agent-1": "OutOfMemoryError"}
    assert not third.failures
    assert not any(report.fresh for report in third.agents)


def test_a_replacement_that_finds_no_place_does_not_hold_up_the_rounds(tmp_path):
    """Only the first round waits for it, for start_timeout_s; it takes its place once there is one."""
    with OnRay(experiment(STATEFUL, STATEFUL), tmp_path) as on_ray:
        on_ray.driver.step()
        short = replace(on_ray.pool._policy, start_timeout_s=4.0)  # the first start may take longer on a busy machine
        on_ray.pool.hosts._policy = short
        on_ray.kill(1)
        taken = ray.remote(num_cpus=7.7)(Occupant).remote()
        ray.get(taken.ready.remote(), timeout=30)
        reports = [on_ray.driver.step() for _ in range(3)]
        ray.kill(taken)
        deadline = time.monotonic() + 60
        while reports[-1].failures and time.monotonic() < deadline:
            time.sleep(0.2)
            reports.append(on_ray.driver.step())
    assert [failures(report) for report in reports[:3]] == [
        {"agent-1": "ActorDiedError"}, {"agent-1": "ActorUnavailableError"}, {"agent-1": "ActorUnavailableError"},
    ]  # fmt: skip
    assert reports[2].seconds < 3
    assert "the one that replaces it is still starting" in reports[2].failures[0].message
    assert not reports[-1].failures


def test_an_agent_that_cannot_store_its_state_keeps_what_was_stored(tmp_path):
    """It is late in its round and in its checkpoint, which says so and takes its state from the one before."""
    with OnRay(experiment(STATEFUL, moody("sleep"), round_timeout_s=2), tmp_path) as on_ray:
        first, second = on_ray.driver.step(), on_ray.driver.step()
        folder = on_ray.driver.folder
        stored = {name: load_state(folder.agents_of(2), name)["round"] for name in ("agent-0", "agent-1")}
    assert first.notes == ()
    assert failures(second) == {"agent-1": "Timeout"}
    note = "agent-1: its state of round 2 is not in the checkpoint: no answer within 2 s"
    assert second.notes[-1].startswith(note)
    assert stored == {"agent-0": 2, "agent-1": 1}


def test_an_agent_whose_actor_finds_no_place_may_be_skipped(tmp_path):
    """With "skip" the others go on; otherwise the message says what it asks for and what is there."""
    taken = ray.remote(num_cpus=7.7)(Occupant).remote()
    ray.get(taken.ready.remote(), timeout=30)
    for policy, timeout_s in (("skip", 10), ("replace", 1)):
        wanted = experiment(STATEFUL, STATEFUL, start_timeout_s=timeout_s, on_agent_failure=policy)
        on_ray = OnRay(wanted, tmp_path / policy)
        if policy == "skip":
            ray.wait([handle.stop.remote(0, 0, 0) for handle in on_ray.handles], num_returns=1, timeout=60)
            assert len(on_ray.driver.start()) == 1
        else:
            with pytest.raises(ResourceError, match=r"did not start within start_timeout_s=1; it asks for 0.25 CPU"):
                on_ray.driver.start()
        on_ray.pool.close()
    ray.kill(taken)


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
            on_ray.pool.save(Storage(str(tmp_path / "file" / "agents")), {"agent-0": 1})()
        kept = on_ray.driver.folder.agents_of(1)
        kept.write_bytes("agent-0.safetensors", b"damaged")
        with pytest.raises(RunFolderError, match=r"agent-0.safetensors is damaged: .* delete this file"):
            on_ray.pool.restore(kept, ["agent-0"])


def test_an_actor_that_dies_before_it_has_restored_is_replaced(tmp_path):
    """As when a driver takes over: the run goes on, and the agent has what it had stored."""
    with OnRay(experiment(STATEFUL, STATEFUL), tmp_path) as on_ray:
        on_ray.driver.step()
        on_ray.kill(1)
        on_ray.pool.restore(on_ray.driver.folder.agents_of(1), ["agent-0", "agent-1"])
        report = on_ray.driver.step()
    assert not report.failures
    assert not any(agent.fresh for agent in report.agents)


def test_an_agent_that_hangs_is_replaced_when_it_is_late_again(tmp_path):
    """It never looks whether it is to stop: late once, late again, then in a new process with what it had stored."""
    with OnRay(experiment(STATEFUL, moody("hang"), round_timeout_s=3), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(4)]
    assert [failures(report) for report in reports[1:]] == [{"agent-1": "Timeout"}, {"agent-1": "Timeout"}, {}]
    assert reports[1].failures[0].decision == "told to stop; asked again in the next round"
    assert "taken to hang; its actor is replaced" in reports[2].failures[0].decision
    assert not any(report.fresh for report in reports[3].agents)


def test_replacements_that_die_as_well_are_given_up(tmp_path):
    """Each round is the death of one more, until there were max_restarts; the others go on."""
    policy = {"max_restarts": 2, "restart_backoff_s": 0.0}
    with OnRay(experiment(STATEFUL, *[replace(moody("die"), in_round=0)], failure=policy), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(4)]
    found = [report.failures[0].decision for report in reports]
    given_up = ["given up after 2 replacements in a row", "given up"]
    assert found == ["its actor is replaced", "its actor is replaced", *given_up]


def test_the_round_ends_as_soon_as_enough_have_answered(tmp_path):
    """Two of three make a round; who dawdles is told to stop, has no row, and is there for the next one."""
    three = experiment(STATEFUL, moody("dawdle", 1), STATEFUL, failure={"quarantine_after": 1})
    wanted = replace(three, mode=Synchronous(over_select=0.5), run=replace(three.run, agents_per_round=2))
    with OnRay(wanted.resolved(), tmp_path) as on_ray:
        first, second = on_ray.driver.step(), on_ray.driver.step()
    assert sorted(report.agent for report in first.agents) == ["agent-0", "agent-2"]
    assert first.failures == ()
    assert first.seconds < 30
    assert second.failures == ()
    assert len(second.agents) in (2, 3)  # whose answers come together count together


def test_an_actor_that_dies_while_it_stores_costs_the_checkpoint_not_its_agents_memory(tmp_path):
    """What was durable is kept; the next try finds another actor, which has what its agents last stored."""
    storage = Storage(str(tmp_path / "stored"))
    storage.make_dirs("")
    with OnRay(experiment(STATEFUL, STATEFUL), tmp_path) as on_ray:
        on_ray.driver.step()
        on_ray.kill(1)
        with pytest.raises(RunFolderError, match="the actor of agent-1 died while it stored their states"):
            on_ray.pool.save(storage, {"agent-0": 1, "agent-1": 1})()
        assert on_ray.pool.save(storage, {"agent-0": 1, "agent-1": 1})() == []
        report = on_ray.driver.step()
        found = bits(on_ray.driver)
    assert load_state(storage, "agent-1")["round"] == 1
    assert not any(agent.fresh for agent in report.agents)
    same = locally(experiment(STATEFUL, STATEFUL), tmp_path)
    for _ in range(2):
        same.step()
    assert found == bits(same)
