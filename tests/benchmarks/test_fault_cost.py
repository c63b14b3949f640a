"""What surviving costs: the arithmetic by hand, and a tiny run with real actors."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fault_cost import Cost, cost, line

ROOT = Path(__file__).parents[2]


def parts(seconds):
    return {"inspection": seconds, "journal": 0.0, "checkpoints": 2 * seconds}


def test_rounds_in_the_middle_count():
    """Rounds 2 to 4 end at 10, 12 and 13, and round 1 at 9; what the parts took in each is told a line later."""
    found = cost([9.0, 10.0, 12.0, 13.0, 90.0, 99.0], [parts(n) for n in (50.0, 50.0, 1.0, 2.0, 3.0, 50.0)])
    assert found == Cost(4 / 3, parts(2.0))


def test_a_row_is_of_medians():
    """With: 10, 30 and 20 ms; without: 18, 16 and 17; the parts take 1 + 0 + 2 ms, 15 % of 20."""
    having = [Cost(seconds, parts(0.001)) for seconds in (0.010, 0.030, 0.020)]
    lacking = [Cost(seconds, parts(0.0)) for seconds in (0.018, 0.016, 0.017)]
    expected = ["W1", "20.00", "17.00", "3.00", "1.00", "0.00", "2.00", "3.00", "15.00"]
    assert line("W1", having, lacking) == expected


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.cluster
def test_a_tiny_run_makes_a_table():
    command = [sys.executable, "-m", "benchmarks.fault_cost", "--workloads", "W1", "--repeats", "1", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head.startswith("| workload | ms a round with | without |")
    assert all(float(cell) > 0 for cell in row.strip("| ").split(" | ")[1:3])
