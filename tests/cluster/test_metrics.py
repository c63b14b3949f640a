"""The dashboard for Grafana asks for what is told: our series with their tags, and Ray's own."""

import json
import re
from pathlib import Path

import pytest

from raycollab.runtime import telemetry

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "cluster" / "grafana.json").read_text())
OF_RAY = {"ray_object_store_memory": {"Location", "NodeAddress"}}  # src/ray/stats of Ray, on every node


def told(monkeypatch):
    """Names of our series as Prometheus has them, each with its tags; a dashboard of them is what Ray adds to it."""
    ends = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
    found = {}

    def recorder(kind):
        def made(name, description, *rest):
            tags = {*rest[-1], *(("le",) if kind == "Histogram" else ())}
            found.update({f"ray_{name}{end}": tags for end in ends[kind]})

        return made

    for kind in ends:
        monkeypatch.setattr(telemetry, kind, recorder(kind))
    telemetry.Telemetry("run-001")
    return found


def asked(dashboard):
    """Name of each series that is asked for, with the tags that choose or group."""
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for query in queries:
        chosen = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', query))
        grouped = {name for by in re.findall(r"by \(([^)]*)\)", query) for name in by.split(", ")}
        listed = set(re.findall(r"label_values\(\w+, (\w+)\)", query))
        for name in re.findall(r"\bray_\w+", query):
            yield name, chosen | grouped | listed


def test_each_series_that_is_drawn_exists_with_its_tags(monkeypatch):
    series = told(monkeypatch) | OF_RAY
    for name, tags in asked(DASHBOARD):
        assert name in series, name
        assert tags <= series[name], name


def test_what_is_told_is_drawn(monkeypatch):
    drawn = {name for name, _ in asked(DASHBOARD)}
    missing = set(told(monkeypatch)) - drawn
    assert missing <= {"ray_raycollab_round_seconds_sum", "ray_raycollab_round_seconds_count"}


@pytest.mark.parametrize("expression", ["ray_raycollab_round_total", 'ray_raycollab_agents{party="x"}'])
def test_a_name_or_tag_that_is_not_told_is_found(monkeypatch, expression):
    dashboard = {"panels": [{"targets": [{"expr": expression}]}], "templating": {"list": []}}
    ((name, tags),) = asked(dashboard)
    assert not tags <= told(monkeypatch).get(name, set()) or name not in told(monkeypatch)
