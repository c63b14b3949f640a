"""What tests share: an environment of Ray's own, one cluster per test run, and small experiments on digits."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raycollab.experiment import Experiment
from raycollab.experiment_file import read_experiment

_RAY_TMPDIR = tempfile.mkdtemp(prefix="rc-", dir="/tmp")  # short: the paths of Ray's sockets are below it
os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_TMPDIR=_RAY_TMPDIR,
    OMP_NUM_THREADS="1",
    RAY_DEDUP_LOGS="0",
    RAY_USAGE_STATS_ENABLED="0",
)  # before ray is imported, which reads them
os.environ.pop("RAY_ADDRESS", None)  # a developer's own cluster is none of the tests' business


def pytest_unconfigure() -> None:
    shutil.rmtree(_RAY_TMPDIR, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """One local cluster for all tests that start actors; its address."""
    import ray  # costs a second that tests without Ray need not pay

    context = ray.init(
        address="local",
        num_cpus=8,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=150 << 20,
        log_to_driver=False,
        configure_logging=False,
        namespace=f"test-{uuid.uuid4()}",
    )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture
def digits(tmp_path: Path) -> Callable[..., Experiment]:
    """Makes the built-in experiment with settings `key.sub=value` on top: two rounds, into tmp_path/runs."""

    def make(*settings: str) -> Experiment:
        small = (f"run.dir={tmp_path}/runs", "run.num_rounds=2", "run.target=null")
        return read_experiment(None, [f"--{setting}" for setting in (*small, *settings)])

    return make
