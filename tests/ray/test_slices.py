"""Slices summed by actors: the same bits as in the driver, and what becomes of slices that are lost or wrong."""

import sys

import pytest
import ray
import torch

from raycollab.fitting import run_experiment
from raycollab.runtime.ray_hosts import Gone

from . import support
from .support import STATEFUL, OnRay, experiment, locally, moody

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def bits(driver):
    return {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()}


def test_slices_change_no_bit(digits):
    """Eight agents on two hosts, summed by one actor, by three, and by the driver in this process."""
    settings = ("run.num_rounds=3", "scaling.agents_per_host=4")
    found = [
        run_experiment(digits(*settings, f"run.name=slices-{count}", f"scaling.slices={count}")) for count in (1, 3)
    ]
    local = run_experiment(digits("scaling.pool=local", "run.num_rounds=3", "run.name=local"))
    reference = local.model().module.state_dict()
    for result in found:
        weights = result.model().module.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in reference.items())
        assert [row["bytes_up"] for row in result.history] == [row["bytes_up"] for row in found[0].history]


def test_a_dead_agent_or_slice_costs_no_more_than_elsewhere(tmp_path):
    """An agent's actor dies, then one that sums, which Ray starts again: the bits are those of an agent that failed."""
    with OnRay(experiment(moody("die"), STATEFUL, slices=2), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(2)]
        ray.kill(on_ray.pool._slices._actors[1], no_restart=False)
        reports += [on_ray.driver.step() for _ in range(2)]
        found = bits(on_ray.driver)
    assert [[failure.agent for failure in report.failures] for report in reports] == [[], ["agent-0"], [], []]
    same = locally(experiment(moody("raise"), STATEFUL), tmp_path)
    for _ in range(4):
        same.step()
    assert found == bits(same)


def test_an_actor_that_is_gone_for_good_has_a_successor(tmp_path):
    """Which costs no agent its round."""
    with OnRay(experiment(STATEFUL, STATEFUL, slices=2), tmp_path) as on_ray:
        on_ray.driver.step()
        ray.kill(on_ray.pool._slices._actors[0])
        report = on_ray.driver.step()
        found = bits(on_ray.driver)
    assert (report.attempts, report.failures) == (1, ())
    same = locally(experiment(STATEFUL, STATEFUL), tmp_path)
    for _ in range(2):
        same.step()
    assert found == bits(same)


def test_slices_that_are_lost_are_failures_of_their_agents(tmp_path, monkeypatch):
    """Only the loss is faked: what a host sent is not there any more when it is asked for."""
    with OnRay(experiment(STATEFUL, STATEFUL, slices=2), tmp_path) as on_ray:
        on_ray.driver.step()
        lost = [Gone("", "ObjectLostError", "the object is lost"), *[None] * 9]
        looked_at = on_ray.pool._slices.looked_at
        monkeypatch.setattr(on_ray.pool._slices, "looked_at", lambda *given: lost.pop(0) or looked_at(*given))
        report = on_ray.driver.step()
    assert [(failure.error, failure.message) for failure in report.failures] == [
        ("ObjectLostError", "the object is lost")
    ]
    assert len(report.agents) == 1


def test_a_sum_that_is_lost_costs_an_attempt(tmp_path, monkeypatch):
    """Every agent has failed then, with the reason, and the round is done again."""
    with OnRay(experiment(STATEFUL, STATEFUL, slices=2), tmp_path) as on_ray:
        on_ray.driver.step()
        lost = [Gone("", "ObjectLostError", "the object is lost"), *[None] * 9]
        whole = on_ray.pool._slices._whole
        monkeypatch.setattr(on_ray.pool._slices, "_whole", lambda *given: lost.pop(0) or whole(*given))
        report = on_ray.driver.step()
        found = bits(on_ray.driver)
    assert report.attempts == 2
    assert {failure.agent for failure in report.retried} == {"agent-0", "agent-1"}
    same = locally(experiment(STATEFUL, STATEFUL), tmp_path)
    for _ in range(2):
        same.step()
    assert found == bits(same)
