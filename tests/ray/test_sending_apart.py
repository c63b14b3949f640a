"""Hosts that send a share's sums while they work on the next, as those with a GPU do; here on the CPU."""

import sys
from dataclasses import replace

import pytest
import ray

from raycollab.aggregation import Median
from raycollab.learners import SGD

from . import support
from .support import STATEFUL, Awaits, Marking, OnRay, experiment, locally, moody

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def apart(made, folder):
    on_ray = OnRay(made, folder)
    assert not on_ray.pool.sends_apart
    on_ray.pool.sends_apart = True
    return on_ray


def bits(driver):
    return {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()}


@pytest.mark.parametrize("slices", [0, 2], ids=["all updates", "sums in slices"])
def test_it_changes_no_bit(tmp_path, slices):
    """Five agents on two hosts, so that there are several shares of a host."""
    made = experiment(*[STATEFUL] * 5, agents_per_host=3, slices=slices)
    made = made if slices else replace(made, chain=(Median(),))
    with apart(made, tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(3)]
        found = bits(on_ray.driver)
    assert not any(report.failures for report in reports)
    same = locally(made, tmp_path)
    for _ in range(3):
        same.step()
    assert found == bits(same)


def test_a_share_is_sent_while_the_next_one_is_begun(tmp_path):
    """The second agent of a host learns only once somebody packs what the first one has sent."""
    mark = str(tmp_path / "packed")
    made = experiment(SGD(lr=0.1), Awaits(lr=0.1, mark=mark), agents_per_host=2)
    with apart(replace(made, upload=Marking(mark)), tmp_path / "runs") as on_ray:
        assert not on_ray.driver.step().failures


def test_a_late_agent_is_told_to_stop_and_comes_back(tmp_path):
    """Its message reaches a host that has begun a share, and whoever is to send it waits."""
    made = experiment(STATEFUL, moody("dawdle"), round_timeout_s=5)
    with apart(made, tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(3)]
        found = bits(on_ray.driver)
    assert [[failure.error for failure in report.failures] for report in reports] == [[], ["Timeout"], []]
    assert not any(report.fresh for report in reports[2].agents)
    same = locally(experiment(STATEFUL, moody("raise")), tmp_path)
    for _ in range(3):
        same.step()
    assert found == bits(same)


@pytest.mark.long
@pytest.mark.cluster
def test_a_dead_actor_costs_its_agents_one_round(tmp_path):
    with apart(experiment(moody("die"), STATEFUL), tmp_path) as on_ray:
        reports = [on_ray.driver.step() for _ in range(3)]
        found = bits(on_ray.driver)
    assert [[failure.error for failure in report.failures] for report in reports] == [[], ["ActorDiedError"], []]
    same = locally(experiment(moody("raise"), STATEFUL), tmp_path)
    for _ in range(3):
        same.step()
    assert found == bits(same)
