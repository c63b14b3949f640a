"""docs/adding-a-rule.md tells the truth: its files, in an empty folder, run by its commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-rule.md").read_text()
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.split("\n")
    if line
]
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder with the page's files."""
    made = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def shell(command, folder):
    """Run a line as somebody would who has installed raycollab, in the folder and with no other path set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    return subprocess.run(
        command, shell=True, cwd=folder, env={**kept, "PATH": f"{SCRIPTS}:{kept['PATH']}"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


needs_script = pytest.mark.skipif(not (SCRIPTS / "raycollab").exists(), reason="the raycollab command is not installed")


def test_the_page_has_what_the_tests_run():
    assert set(FILES) == {"myrules.py", "my.yaml"}
    assert len(COMMANDS) == 2


@needs_script
@pytest.mark.parametrize(("index", "name"), [(0, "run-001"), (1, "attacked")])
def test_the_commands_run_the_rule(folder, index, name):
    done = shell(COMMANDS[index], folder)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "runs" / name / "result.json").read_text())["metrics"]["accuracy"] > 0.7
    written = yaml.safe_load((folder / "runs" / name / "experiment.yaml").read_text())
    assert written["chain"] == [{"class_path": "myrules.Midrange", "init_args": {"chunk_bytes": 2**24, "drop": 1}}]


@needs_script
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sed 's/drop: 1/dorp: 1/' my.yaml > bad.yaml; PYTHONPATH=. raycollab run bad.yaml", "unknown key 'dorp'"),
        ("sed 's/drop: 1/drop: 4/' my.yaml > bad.yaml; PYTHONPATH=. raycollab run bad.yaml", "needs 9 updates a round"),
        ("raycollab run my.yaml", "myrules.Midrange"),  # not on the path
    ],
)
def test_what_goes_wrong_is_said(folder, command, message):
    done = shell(command, folder)
    assert done.returncode == 2
    assert message in done.stderr
