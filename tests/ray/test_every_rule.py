"""Every exported rule in real actors: the bits of the same run in one process.

Two actors serve all cases, each started anew inside its process, because a process takes seconds to start.
"""

from collections.abc import Iterator

import pytest
import ray

import raycollab as rc
from raycollab.checkpoint import RunFolder
from raycollab.runtime.placement import place
from raycollab.runtime.pool import Layout
from raycollab.runtime.ray_hosts import HostSpecs
from raycollab.runtime.ray_pool import RayPool

from ..contracts.rows import CODECS, MODES, SELECTIONS, instances, short
from ..contracts.support import ONE_STEP, digits, train
from ..contracts.test_laws_of_runs import CASES

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("ray_cluster")]
NUM_HOSTS = 2
SETTINGS = [
    *({"learners": learner, "chain": chain} for learner, chain in CASES),
    *({"mode": mode} for mode in instances(MODES)),
    *({"select": select} for select in instances(SELECTIONS)),
    *({"upload": codec, "broadcast": codec} for codec in instances(CODECS)),
]


@pytest.fixture(scope="module")
def handles(ray_cluster) -> Iterator[list]:
    specs = on_hosts(digits(rounds=1).resolved())
    actors = [specs.start(host) for host in range(NUM_HOSTS)]
    yield actors
    for actor in actors:
        ray.kill(actor)


def on_hosts(experiment: rc.Experiment) -> HostSpecs:
    names = tuple(agent.name for agent in experiment.members())
    layout = Layout(names, experiment.run.num_blocks or 1, NUM_HOSTS)
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
    experiment = digits(learners, *chain, rounds=2, run=run, **settings).resolved()
    specs = on_hosts(experiment)
    for handle, agents in zip(handles, specs.agents, strict=True):
        again = handle.__ray_call__.remote(lambda self, parts: self.__init__(parts, 0.0), [specs.session, agents])
        ray.get(again, timeout=60)
    pool = RayPool(specs, handles, rc.FailureConfig(start_timeout_s=300, round_timeout_s=300))
    driver = rc.Driver(experiment.plan(), pool, RunFolder.create(str(tmp_path)))
    driver.start()
    reports = list(driver.rounds())
    local = train(experiment)
    assert not [failure for report in reports for failure in report.failures]
    assert {name: vector.numpy().tobytes() for name, vector in driver.vectors.items()} == {
        name: vector.numpy().tobytes() for name, vector in local.driver.vectors.items()
    }
    assert [report.bytes_up for report in reports] == [report.bytes_up for report in local.reports]
