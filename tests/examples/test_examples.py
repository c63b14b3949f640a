"""Every example runs, and prints what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_data = pytest.mark.skipif(
    not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the folder of the real data sets"
)


def run(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracy(output: str) -> float:
    return float(
        next(line for line in reversed(output.splitlines()) if line.strip().startswith("accuracy  ")).split()[1]
    )


@pytest.mark.ray
def test_quickstart(tmp_path):
    """The fifteen lines of the README, as they stand: real actors, 0.95 and more."""
    output = run("quickstart.py", cwd=tmp_path)
    assert accuracy(output) >= 0.95
    assert (tmp_path / "runs" / "run-001" / "model" / "model.safetensors").exists()


def test_own_optimizer_and_loss(tmp_path):
    output = run("own_optimizer_and_loss.py", "--pool", "local", "--rounds", "20", cwd=tmp_path)
    assert accuracy(output) >= 0.94
    assert "Optimizer" in output


@needs_data
def test_language(tmp_path):
    """A fortieth of the example's steps: from log(65) = 4.17 nats a character to less than 3.4."""
    output = run("language.py", "--pool", "local", "--rounds", "4", "--steps", "3", cwd=tmp_path)
    assert float(output.rpartition("loss")[2].split()[0]) < 3.4
    assert "bits_per_character" in output


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_one_idea(path):
    """At most 60 lines, and each is run by a test in this file."""
    assert len(path.read_text().splitlines()) <= 60
    assert path.name in Path(__file__).read_text()
