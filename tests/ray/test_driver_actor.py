"""The driver's own process: what becomes of a run whose driver finds no place, or dies."""

import sys
from dataclasses import replace

import pytest
import ray

from raycollab.config import FailureConfig
from raycollab.errors import ClusterError, ResourceError
from raycollab.fitting import _streamed, run_experiment
from raycollab.runtime.placement import Placement

from . import support
from .support import Deadly, Occupant

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
ray.cloudpickle.register_pickle_by_value(sys.modules[support.__name__])  # actors cannot import the tests


def test_a_driver_that_finds_no_place_is_not_waited_for_for_ever():
    waiting = ray.remote(num_cpus=99)(Occupant).remote()
    with pytest.raises(ResourceError, match=r"the driver did not start within start_timeout_s=1; it asks for 1 GPU"):
        next(_streamed(waiting, FailureConfig(start_timeout_s=1), Placement(1, 1.0, 0.0, 1.0)))
    ray.kill(waiting)


def test_a_driver_that_dies_leaves_a_run_that_can_be_resumed(digits, tmp_path):
    """It dies as it plans round 2; the message says what happened, the note how to go on."""
    experiment = replace(digits("run.name=orphan", "scaling.agents_per_host=8"), mode=Deadly(version=1))
    with pytest.raises(ClusterError, match="the driver's process died: ") as caught:
        run_experiment(experiment)
    assert f"raycollab resume {tmp_path}/runs/orphan" in caught.value.__notes__[0]
