"""The benchmark's script stays alive: a tiny run."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ["Mean", "Median", "TrimmedMean", "Krum", "Krum", "Bulyan", "GeometricMedian", "CenteredClip"]


def test_a_tiny_run_prints_one_line_of_json_a_rule():
    tiny = ["--agents", "10", "--params", "20_000", "--repeats", "1", "--threads", "1"]
    command = [sys.executable, "-m", "benchmarks.rules", *tiny]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["rule"].split("(")[0] for line in lines] == NAMES
    assert all(line["ratio"] > 0 for line in lines)
    assert all(line["extra_peak_mb"] is None or line["extra_peak_mb"] < 50 for line in lines)
