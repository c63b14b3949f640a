"""Agents beside plain processes can be measured; the small version says nothing about speed."""

import pytest

from benchmarks.meta_hosts import measure


@pytest.mark.ray
@pytest.mark.long
def test_agents_beside_plain_processes(ray_cluster):
    line = measure(repeats=1, rounds=2, tiny=True)
    assert (line["agents"], line["hosts"]) == (8, 2)
    assert line["share"] == pytest.approx(line["episodes_per_s"] / line["two_processes_episodes_per_s"], abs=0.002)
    assert line["episodes_per_s"] > 0
