"""The driver's own process: what becomes of a run whose driver finds no place, or dies."""

import sys
import threading
import time
from dataclasses import replace

import pytest
import ray

from raycollab import control
from raycollab.callbacks import Callback
from raycollab.config import FailureConfig
from raycollab.data import Digits
from raycollab.errors import ClusterError, ConfigError, Interrupted, ResourceError
from raycollab.fitting import run_experiment
from raycollab.interruption import Interruption
from raycollab.modes import Synchronous
from raycollab.on_ray import _streamed
from raycollab.runtime.placement import Placement

from . import support
from .support import Deadly, Occupant

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def test_a_driver_that_finds_no_place_is_not_waited_for_for_ever():
    waiting = ray.remote(num_cpus=99)(Occupant).remote()
    with pytest.raises(ResourceError, match=r"the driver did not start within start_timeout_s=1; it asks for 1 GPU"):
        next(
            _streamed(
                waiting, FailureConfig(start_timeout_s=1), Synchronous(), Placement(1, 1.0, 0.0, 1.0), Interruption()
            )
        )
    ray.kill(waiting)


def test_a_driver_that_dies_leaves_a_run_that_can_be_resumed(digits, tmp_path):
    """It dies as it plans round 2, each time; the message says what happened, the note how to go on."""
    settings = ("run.name=orphan", "scaling.agents_per_host=8", "failure.max_driver_restarts=0")
    experiment = replace(digits(*settings), mode=Deadly(version=1))
    with pytest.raises(ClusterError, match="the driver's process died: ") as caught:
        run_experiment(experiment)
    assert f"raycollab resume {tmp_path}/runs/orphan" in caught.value.__notes__[0]


class Heard(Callback):
    def __init__(self):
        self.notices, self.rounds = [], []

    def on_notice(self, notice):
        self.notices.append(notice.text)

    def on_round(self, report):
        self.rounds.append(report.index)


def weights(result):
    return {name: tensor.numpy().tobytes() for name, tensor in result.model().module.state_dict().items()}


def test_a_driver_that_dies_is_started_again_and_finds_its_hosts(digits, tmp_path):
    """Momentum that agents keep comes back from the last durable round; the bits are those of a run without a death."""
    settings = ("run.num_rounds=5", "checkpoint.every=2", "agents.learners.0.keep_momentum=true")
    heard = Heard()
    mode = Deadly(version=3, mark=str(tmp_path / "mark"))
    experiment = replace(digits(*settings, "run.name=reborn", "scaling.agents_per_host=4"), mode=mode)
    reborn = run_experiment(experiment, callbacks=[heard])
    (notice,) = heard.notices
    assert notice.startswith("the driver's process died: ")
    assert notice.endswith("another one goes on from the last durable round (1 in a row)")
    assert heard.rounds in ([1, 2, 3, 3, 4, 5], [1, 2, 3, 1, 2, 3, 4, 5])  # the checkpoint of round 2 may be half-way
    assert [row["round"] for row in reborn.history] == [1, 2, 3, 4, 5]
    undisturbed = run_experiment(digits(*settings, "run.name=undisturbed", "scaling.pool=local"))
    assert weights(reborn) == weights(undisturbed)


def test_a_run_answers_takes_in_agents_and_stops_when_asked(digits, tmp_path):
    """Through the named actor: status, an agent that joins and one that leaves, a stop; then a resume to the end."""
    experiment = digits("run.name=asked", "run.num_rounds=100000", "scaling.agents_per_host=4")
    run, failed = str(tmp_path / "runs" / "asked"), []

    def whole():
        try:
            run_experiment(experiment)
        except Interrupted as error:
            failed.append(error)

    thread = threading.Thread(target=whole)
    thread.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs" / "asked" / "journal.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert control.status(run)["state"] == "running"
    joiner = replace(experiment.members()[0], name="late", shard=Digits("test"))
    assert control.add_agent(run, joiner).agent == "late"
    with pytest.raises(ConfigError, match="add_agent: there is an agent 'late' already"):
        control.add_agent(run, joiner)
    control.remove_agent(run, "party-3")
    assert control.status(run)["agents"] == 8
    control.stop(run, grace_s=60)
    thread.join(timeout=120)
    assert str(failed[0]).startswith("stopped after round ")
    assert f"raycollab resume {run}" in failed[0].__notes__[0]
    assert control.status(run)["state"] == "not running"
    with pytest.raises(ClusterError, match="nobody runs it"):
        control.stop(run)
    rounds = control.status(run)["round"] + 2
    result = run_experiment(replace(experiment, run=replace(experiment.run, num_rounds=rounds)), resume=run)
    took_part = {row["agent"] for row in result.agents if row["round"] == rounds}
    assert took_part == {"late", *(f"party-{i}" for i in range(8) if i != 3)}
