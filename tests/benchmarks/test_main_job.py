"""The benchmark's script stays alive: a tiny run in one process."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_tiny_run_prints_one_line_of_json():
    tiny = ["scaling.pool=local", "run.num_rounds=1", "agents.partition.num_parts=2"]
    command = [sys.executable, "-m", "benchmarks.main_job", "--repeats", "1", "--seeds", "0", "--set", *tiny]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["rounds_by_seed"] == {"0": 1}
    assert line["peak_pss_mb"] > 50
    assert 0 <= line["seconds_until_agents_are_ready"] < line["seconds_to_report"]
