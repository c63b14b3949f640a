"""The lines of cluster/README.md for one machine, as they stand there, where all of its ports are free."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from .hosts import alone, not_allowed

ROOT = Path(__file__).parents[2]
README = (ROOT / "cluster" / "README.md").read_text()
SECTION = README.partition("## One machine in ten lines\n")[2].partition("\n## ")[0]
RAY = r"ray (get-auth-token|start) [^;|&]*( && chmod 600 ~/.ray/auth_token)?"
LINE = re.compile(rf"export RAY_\w+=\w+|{RAY}|raycollab [^;|&]*")
pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]


def blocks():
    """The commands; nothing else of a README is run."""
    found = [block.splitlines() for block in re.findall(r"^```\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)]
    assert all(LINE.fullmatch(line) for block in found for line in block), found
    return found


@pytest.fixture(scope="module")
def shell():
    """Runs a command where all of a machine's ports are free; what was exported stays; returns what was said."""
    if why := not_allowed():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="ro-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        for name in ("ray", "work"):
            (Path(folder) / name).mkdir()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}:{clean['PATH']}"
        own = {"HOME": folder, "RAY_TMPDIR": folder, "PATH": path, "PYTHONPATH": str(ROOT)}
        with alone("rc-one") as within:

            def call(line):
                name, _, value = line.removeprefix("export ").partition("=")
                if line.startswith("export "):
                    own[name] = value
                    return ""
                return subprocess.run(
                    [*within, "bash", "-c", line], env=clean | own, cwd=f"{folder}/work", timeout=240,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                ).stdout  # fmt: skip

            yield call


@pytest.fixture(scope="module")
def first(shell):
    """What the lines of the first block have said."""
    return {line: shell(line) for line in blocks()[0]}


def said_by(said, command):
    (found,) = [text for line, text in said.items() if line.startswith(command)]
    return found


def test_the_doctor_sees_two_nodes_of_two_parties_that_ask_for_the_token(first):
    found = said_by(first, "raycollab doctor")
    assert re.search(r"ok  labels raycollab.io/party: party-0 on \S+, party-1 on \S+\n", found), found
    for check in ("ray", "python", "torch", "raycollab", "clocks", "token", "token's file", "storage"):
        assert f"ok  {check}: " in found


def test_a_job_meets_its_target(first):
    found = said_by(first, "raycollab submit")
    assert "2 agents agreed on task" in found, found
    assert re.search(r"ended after \d+ rounds: target accuracy", found)


def test_a_job_that_goes_on_is_asked_stopped_and_continued(first, shell):
    submit, *rest, stop, resume = blocks()[1]
    job = re.search(r"job (\S+) is submitted", shell(submit))[1]
    deadline = time.monotonic() + 120
    while "state  running" not in shell("raycollab status runs/long"):
        assert time.monotonic() < deadline, shell(f"raycollab logs {job} --address http://localhost:8265")
    said = {line: shell(line.replace("JOB", job)) for line in rest}
    assert f"{job}  RUNNING" in said_by(said, "raycollab status --address")
    assert "state  running" in said_by(said, "raycollab status runs/long")
    assert "round  " in said_by(said, "raycollab logs")
    assert "`raycollab resume RUN" in shell(stop.replace("JOB", job))
    assert re.search(r"resumed after round \d+", text := shell(resume)), text
    assert "target accuracy > 0.9" in text
