"""The arithmetic of a cluster's round by hand, and that it can be measured."""

import subprocess
import sys
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


@pytest.mark.ray
def test_it_can_be_measured():
    command = [sys.executable, "-m", "benchmarks.scale", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 10
