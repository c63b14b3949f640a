"""Every exported rule in real actors: the bits of the same run in one process.

Two actors serve all cases, each started anew inside its process, because a process takes seconds to start.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.runtime.placement import place
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.runtime.ray_pool import RayPool

from ..contracts.rows import short
from ..contracts.support import ONE_STEP, digits, train
from ..contracts.test_capacities import CASES, capacities
from ..contracts.test_distillation import distillation
from ..contracts.test_laws_of_runs import SETTINGS

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("ray_cluster")]
NUM_HOSTS = 2


@pytest.fixture(scope="module")
def handles(ray_cluster) -> Iterator[list]:
    specs = on_hosts(digits(rounds=1).resolved())
    actors = [specs.start(host) for host in range(NUM_HOSTS)]
    yield actors
    for actor in actors:
        ray.kill(actor)


def on_hosts(experiment: rc.Experiment) -> HostSpecs:
    layout = replace(experiment.layout(num_cpus=1), num_hosts=NUM_HOSTS)
    placement = place(rc.ScalingConfig(cpus_per_host=0.25), NUM_HOSTS)
    return HostSpecs.put(layout, placement, experiment.session(), experiment.members())


def named(settings: dict) -> str:
    return " ".join(short(value) for value in settings.values())


@pytest.mark.parametrize("settings", SETTINGS, ids=named)
def test_actors_have_the_bits_of_one_process(settings, handles, tmp_path):
    settings = {"learners": ONE_STEP, "chain": (rc.Mean(),), **settings}
    learners, chain = settings.pop("learners"), settings.pop("chain")
    rule = rc.chain(*chain).aggregator
    run = {"agents_per_round": max(5, rule.min_updates)}
    assert_alike(digits(learners, *chain, rounds=2, run=run, **settings).resolved(), handles, tmp_path)


def test_agents_that_distil_have_the_bits_of_one_process(handles, tmp_path):
    assert_alike(distillation(rounds=2).resolved(), handles, tmp_path)


@pytest.mark.parametrize("case", ["widths", "ordered dropout", "depths"])
def test_agents_of_several_capacities_have_the_bits_of_one_process(case, handles, tmp_path):
    assert_alike(capacities(case, **CASES[case], rounds=2).resolved(), handles, tmp_path)


def assert_alike(experiment: rc.Experiment, handles: list, tmp_path: Path) -> None:
    specs = on_hosts(experiment)
    for handle, agents in zip(handles, specs.agents, strict=True):
        again = handle.__ray_call__.remote(lambda self, parts: self.__init__(parts, 0.0), [specs.session, agents])
        ray.get(again, timeout=60)
    pool = RayPool(specs, handles, rc.FailureConfig(start_timeout_s=300, round_timeout_s=300))
    driver = rc.Driver(experiment.plan(), pool, RunFolder.create(str(tmp_path)))
    driver.start()
    reports = list(driver.rounds())
    local = train(experiment)
    assert failed(reports) == failed(local.reports)
    assert not failed(reports) or experiment.attack.kind == "nan"
    assert {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()} == {
        name: vector.numpy().tobytes() for name, vector in local.driver.vectors.items()
    }
    assert all(ours.bytes_up >= one.bytes_up for ours, one in zip(reports, local.reports, strict=True))


def failed(reports: list) -> list:
    return [(failure.agent, failure.error) for report in reports for failure in report.failures]
