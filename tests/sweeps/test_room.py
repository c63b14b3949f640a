"""What a trial takes of the cluster, and what is said while others hold it."""

import threading
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray

import raycollab as rc
from raycollab.errors import ResourceError
from raycollab.sweeps import search
from raycollab.sweeps.room import Room, Watch

from .test_sweeps import experiment, settings


@pytest.mark.ray
@pytest.mark.parametrize(
    ("scaling", "at_once"),
    [
        ({"pool": "local"}, 8),
        ({"pool": "local", "threads_per_host": 3}, 2),  # of eight cores
        ({"pool": "local", "threads_per_host": 8}, 1),
        ({"agents_per_host": 4, "cpus_per_host": 0.5}, 8),  # two hosts for eight agents
        ({"agents_per_host": 4, "cpus_per_host": 1.5}, 2),
        ({"agents_per_host": 2, "cpus_per_host": 2.0}, 1),
        ({"agents_per_host": 1}, 1),  # all cores, shared
    ],
)
def test_as_many_at_once_as_fit(scaling, at_once, ray_cluster):
    assert Room.of(replace(experiment(), scaling=rc.ScalingConfig(**scaling))).at_once == at_once


@pytest.mark.ray
def test_more_than_there_is(ray_cluster):
    """With what is asked and what there is; a trial in one process too."""
    asked = replace(experiment(), scaling=rc.ScalingConfig(pool="local", threads_per_host=9))
    with pytest.raises(ResourceError, match=r"ask for 9 CPU; the cluster has 8 CPU, 0 GPU on 1 node\(s\)"):
        Room.of(asked)


def test_silence_is_broken_once_it_was_long():
    """Not while a trial runs or there is room; then once for each stretch of it."""
    waiting, runs = SimpleNamespace(status="PENDING"), SimpleNamespace(status="RUNNING")
    held = SimpleNamespace(lack=lambda: "no trial can begin: others")
    watch = Watch(held, silence_s=0.2)
    with warnings.catch_warnings():  # here they are errors
        watch.on_step_begin(1, [waiting])
        time.sleep(0.3)
        watch.on_step_begin(2, [runs, waiting])
        watch.on_step_begin(3, [waiting])
    time.sleep(0.3)
    with pytest.warns(UserWarning, match="no trial can begin: others"):
        watch.on_step_begin(4, [waiting])
    watch.on_step_begin(5, [waiting])
    time.sleep(0.3)
    held.lack = lambda: ""
    watch.on_step_begin(6, [waiting])


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.cluster
def test_a_sweep_says_that_others_hold_the_cluster(tmp_path, ray_cluster):
    """What a trial needs, what is free and who may hold the rest; once they end, it goes on to its end."""
    holder = ray.remote(num_cpus=8)(Holder).remote()
    ray.get(holder.ready.remote())
    base, asked = experiment(f"--run.dir={tmp_path}"), settings(num_samples=1)
    over = threading.Event()

    def release():
        """A while after it was looked."""
        while not over.wait(0.1) and not (tmp_path / "sweep-001" / "tuner.pkl").exists():
            pass
        over.wait(10.0)
        ray.kill(holder)

    releasing = threading.Thread(target=release)
    releasing.start()
    try:
        said = r"each needs 1 CPU, and 0 CPU, 0 GPU of the cluster are free\. .* runs of raycollab there: none, and"
        with pytest.warns(UserWarning, match=said):
            sweep = search(base, asked)
    finally:
        over.set()
        releasing.join()
    assert [row["rounds"] for row in sweep.rows] == [2]


class Holder:
    def ready(self):
        return True
