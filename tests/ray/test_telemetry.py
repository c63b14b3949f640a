"""What Prometheus reads of a run on the metrics port of its driver's node."""

import re
import time
from urllib.request import urlopen

import pytest
import ray

from raycollab.fitting import run_experiment

pytestmark = pytest.mark.ray
_REPORTED_S = 60  # Ray tells every 10 seconds


def series(run):
    """Values of our series with this run's tag, by name and the tags that are ours."""
    port = next(node["MetricsExportPort"] for node in ray.nodes() if node["Alive"])
    found = {}
    for line in urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode().splitlines():
        match = re.fullmatch(r"ray_raycollab_(\w+)\{(.*)\} (\S+)", line)
        if match and f'run="{run}"' in match[2]:
            tags = re.findall(r'\b(direction|error|metric)="([^"]*)"', match[2])
            found[(match[1], *(value for _, value in tags))] = float(match[3])
    return found


def test_what_the_dashboard_draws_of_ray_itself(ray_cluster):
    """As tests/cluster/test_metrics.py takes it for granted."""
    port = next(node["MetricsExportPort"] for node in ray.nodes() if node["Alive"])
    deadline, page = time.monotonic() + _REPORTED_S, ""
    while "\nray_object_store_memory{" not in page and time.monotonic() < deadline:
        time.sleep(0.5)
        page = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    line = next(line for line in page.splitlines() if line.startswith("ray_object_store_memory{"))
    assert {"Location", "NodeAddress"} <= set(re.findall(r'(\w+)="', line))


def test_rounds_seconds_bytes_and_scores(ray_cluster, digits):
    result = run_experiment(digits("run.name=measured", "scaling.agents_per_host=4"))
    deadline, found = time.monotonic() + _REPORTED_S, {}
    while found.get(("rounds_total",)) != 2 and time.monotonic() < deadline:
        time.sleep(0.5)
        found = series("measured")
    assert found[("rounds_total",)] == found[("round_seconds_count",)] == 2
    assert found[("bytes_total", "up")] == sum(row["bytes_up"] for row in result.history)
    assert found[("bytes_total", "down")] == sum(row["bytes_down"] for row in result.history)
    assert found[("agents",)] == 8
    assert found[("score", "accuracy")] == pytest.approx(result.metrics["accuracy"])
    assert not any(name == "failures_total" for name, *_ in found)
