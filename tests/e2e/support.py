"""The command line as a user has it: in a process of its own, or called here."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

COMMAND = (sys.executable, "-m", "raycollab")


def environment(home, **more):
    """The environment of somebody who has set nothing for Ray; `~` and all of Ray's files are below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "HOME": str(home), "RAY_TMPDIR": os.environ["RAY_TMPDIR"], **more}


def command_line(*arguments, home, **more):
    """Run a command to its end; returns what subprocess.run returns."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=240, cwd=home, env=environment(home, **more),
    )  # fmt: skip


def sha256(run):
    """Hash of a run's weights."""
    return hashlib.sha256((Path(run) / "model" / "model.safetensors").read_bytes()).hexdigest()


def rounds(run):
    """Rows of rounds.parquet without what depends on the clock: fast hosts add up more before they send it."""
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "bytes_up")}
        for row in pq.read_table(f"{run}/rounds.parquet").to_pylist()
    ]


def agents(run):
    """Rows of agents.parquet without what is measured with a clock."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in pq.read_table(f"{run}/agents.parquet").to_pylist()
    ]
