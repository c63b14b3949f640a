"""`ray job submit` to a real head: the run uses that cluster, not one of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from raycollab.cli import main

from .support import environment, sha256

pytestmark = pytest.mark.ray


def test_a_submitted_job_runs_on_the_cluster(head, digits, tmp_path):
    """It ends with the bits of a run in one process, writes the same run folder, and the head has one session."""
    file = tmp_path / "x.yaml"
    assert main(["run", "--scaling.pool=local", "--run.num_rounds=2", f"--run.dir={tmp_path}", "--run.name=local"]) == 0
    file.write_text((tmp_path / "local" / "experiment.yaml").read_text())
    overrides = ("--run.name=job", "--scaling.pool=ray", "--scaling.agents_per_host=4", "--scaling.cpus_per_host=2")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", head.dashboard,
         "--", sys.executable, "-m", "raycollab", "run", str(file), *overrides],
        env=environment(tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=head.token), cwd=tmp_path,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run folder: {tmp_path}/job" in done.stdout
    assert sha256(tmp_path / "job") == sha256(tmp_path / "local")
    assert len(list((head.folder / "ray").glob("session_2*"))) == 1
