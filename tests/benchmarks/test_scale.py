"""The arithmetic of a cluster's round by hand, and that it can be measured."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import Cluster, Costs, predicted_s

ROOT = Path(__file__).parents[2]
COSTS = Costs(per_agent_s=0.001, per_call_s=0.002, per_byte_summed_s=1e-9, per_byte_applied_s=2e-9)


def test_a_round_without_slices():
    """10 nodes, 1 M parameters, 4 MB at 1 GB/s: out 0.04, in 0.04, summed 0.04, applied 0.008, calls 0.03 s."""
    assert predicted_s(COSTS, Cluster(10, 1_000_000, network=1e9)) == pytest.approx(0.158)


def test_a_round_with_slices_and_half_the_bytes():
    """Out 0.02, in over five 0.004, gathered 0.002, summed over five 0.008, applied 0.008, calls 0.03 s."""
    assert predicted_s(COSTS, Cluster(10, 1_000_000, 1e9, 2.0, slices=5)) == pytest.approx(0.072)


def test_the_table_of_scaling_follows_from_the_costs_that_stand_above_it():
    """Of 10 Gbit/s: in float32, in bfloat16, and in bfloat16 with an actor that sums for each ten nodes."""
    page = (ROOT / "cluster" / "SCALING.md").read_text()
    costs = Costs(*(float(cost) for cost in re.findall(r"\| (\d\.\d+e-\d+) \|", page)))
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) M \| (.*) s \| (.*) s \| (.*) s \|$", page, re.MULTILINE)
    assert len(rows) == 9
    for row in rows:
        nodes, millions, *stated = (float(each.replace(",", "")) for each in row)
        ways = [Cluster(int(nodes), int(millions * 1e6), bytes_per_param=size) for size in (4.0, 2.0)]
        ways.append(replace(ways[1], slices=int(nodes) // 10))
        assert stated == pytest.approx([predicted_s(costs, way) for way in ways], rel=0.005, abs=0.01), row


@pytest.mark.ray
def test_it_can_be_measured():
    command = [sys.executable, "-m", "benchmarks.scale", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 10
