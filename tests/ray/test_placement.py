"""What a run asks of a cluster: refused at once if it is not there, and never of somebody else's cluster."""

import os
import socket
import subprocess
import sys
import time

import pytest
import ray

from raycollab.config import ScalingConfig
from raycollab.errors import ClusterError, ResourceError
from raycollab.fitting import run_experiment
from raycollab.runtime.placement import cluster, num_cpus, place, wait_for_resources

pytestmark = pytest.mark.ray


@pytest.fixture
def nodes(monkeypatch):
    """Pretends that the cluster has these nodes, each of (CPUs, GPUs)."""

    def pretend(*sizes):
        alive = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in sizes]
        dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 64.0}}
        total = {"CPU": float(sum(cpus for cpus, _ in sizes)), "GPU": float(sum(gpus for _, gpus in sizes))}
        monkeypatch.setattr(ray, "nodes", lambda: [*alive, dead])
        monkeypatch.setattr(ray, "cluster_resources", lambda: total)

    return pretend


def asked(hosts, timeout_s=0.0, **scaling):
    wait_for_resources(place(ScalingConfig(**scaling), hosts), timeout_s)


@pytest.mark.parametrize(
    ("sizes", "hosts", "scaling"),
    [
        ([(8, 1)], 3, {"gpus_per_host": 0.33}),
        ([(8, 1)], 4, {"gpus_per_host": 0.2, "gpus_for_driver": 0.2}),
        ([(8, 2)], 2, {"gpus_per_host": 1.0}),
        ([(2, 0), (8, 1)], 8, {"gpus_per_host": 0.125, "cpus_per_host": 1.0}),
        ([(1, 0)], 16, {}),  # CPUs that are not set are shared, however many hosts
    ],
)
def test_what_fits(nodes, sizes, hosts, scaling):
    nodes(*sizes)
    asked(hosts, **scaling)


def test_a_fraction_comes_out_of_one_gpu(nodes):
    """Three times 0.6 is less than the two GPUs that are there, but neither has 0.6 left for the third."""
    nodes((8, 2))
    with pytest.raises(
        ResourceError, match=r"3 actors of 1 CPU and 0.6 GPU .* ask for 3 CPU, 1.8 GPU; .* 8 CPU, 2 GPU on 1"
    ):
        asked(3, gpus_per_host=0.6, cpus_per_host=1.0)


def test_a_host_is_never_cut_between_nodes(nodes):
    """Two nodes of two CPUs hold no actor of three, though there are four in all."""
    nodes((2, 0), (2, 0))
    with pytest.raises(ResourceError, match=r"ask for 3 CPU; the cluster has 4 CPU, 0 GPU on 2"):
        asked(1, cpus_per_host=3.0)


def test_a_cluster_that_may_grow_gets_its_time_and_no_more(nodes):
    nodes((8, 0), (8, 0))
    start = time.monotonic()
    with pytest.raises(ResourceError, match="1 GPU; the cluster has 16 CPU, 0 GPU on 2 node"):
        asked(1, timeout_s=1.0, gpus_per_host=1.0)
    assert 1 <= time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("gpus_per_host=1", "8 actors of 0.888 CPU and 1 GPU (driver: 0 GPU) ask for 7.104 CPU, 8 GPU; the cluster"),
        ("gpus_per_host=0.125", "8 actors of 0.888 CPU and 0.125 GPU"),
        ("gpus_for_driver=1", "(driver: 1 GPU) ask for 7.104 CPU, 1 GPU; the cluster has 8 CPU, 0 GPU"),
        ("cpus_per_host=2", "ask for 16 CPU; the cluster has 8 CPU, 0 GPU"),
    ],
)  # fmt: skip
def test_what_the_cluster_lacks_is_refused_at_once(ray_cluster, digits, setting, words):
    """The message says what was asked for, what is there and what to do; nothing is started, no folder left."""
    wanted = digits(f"scaling.{setting}")
    start = time.monotonic()
    with pytest.raises(ResourceError) as caught:
        run_experiment(wanted)
    assert time.monotonic() - start < 10
    assert words in str(caught.value)
    assert "Lower ScalingConfig.gpus_per_host or cpus_per_host" in str(caught.value)
    assert not os.path.exists(f"{wanted.run.dir}/run-001")


def test_another_address_than_the_one_in_use_is_refused(ray_cluster):
    """`ray.init()` came first; to go on there without a word would be to run on another cluster than asked for."""
    with pytest.raises(ClusterError, match=f"attached to the Ray cluster at {ray_cluster} already"), cluster("a:1"):
        pass
    with cluster(ray_cluster):
        assert num_cpus() == 8


def test_a_cluster_that_was_there_stays(ray_cluster):
    with cluster():
        assert num_cpus() == 8
    assert ray.is_initialized()
    assert ray.get_runtime_context().gcs_address == ray_cluster


@pytest.mark.parametrize("how", ["argument", "RAY_ADDRESS"])
def test_an_address_where_nobody_answers(monkeypatch, how):
    """Ray itself would go on trying for minutes."""
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was Ray's turn to try"))
        if how == "RAY_ADDRESS":
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ClusterError) as caught, cluster(address if how == "argument" else None):
            pass
    assert f"Ray cluster at {address}: nobody answers there" in str(caught.value)
    assert "leave it out to run on this machine" in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "no such thing"])
def test_an_address_that_ray_does_not_know(monkeypatch, address):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=address), cluster(address):
        pass


def test_somebody_elses_cluster_is_left_alone(ray_cluster):
    """Without RAY_ADDRESS a process starts a cluster of its own, though Ray would find the one of this test run."""
    code = """if True:
        import ray
        from ray._private.services import canonicalize_bootstrap_address
        from raycollab.runtime.placement import cluster
        print(canonicalize_bootstrap_address("auto"))
        with cluster():
            print(ray.get_runtime_context().gcs_address)
        print(ray.is_initialized())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    found, used, still = done.stdout.split()[-3:]
    assert found  # this test run's, or that of another process on this machine
    assert used not in (found, ray_cluster)
    assert still == "False"
