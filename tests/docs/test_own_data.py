"""The page on data of one's own tells the truth: its file and commands run on files like those it describes."""

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from raycollab.cli import main
from raycollab.experiment_file import parse_experiment

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command line of the page in a folder, in this process; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(line):
        command, *arguments = shlex.split(line)
        code = main(arguments)
        told = capsys.readouterr()
        assert (command, code) == ("raycollab", 0), told.err
        return told.out

    return call


def write(path, rows):
    """Raw pixels as bytes, and labels."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, 784), dtype=np.uint8)
    images = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    pq.write_table(pa.table({"image": images, "label": np.arange(rows) % 10}), path)


def test_the_experiment_runs_and_its_model_predicts(run, tmp_path):
    for name, rows in (
        ("north/2025.parquet", 40),
        ("north/2026.parquet", 30),
        ("south.parquet", 50),
        ("test.parquet", 20),
    ):
        write(tmp_path / name, rows)
    (tmp_path / "hospitals.yaml").write_text(blocks("yaml")[0])
    outputs = [run(line) for block in blocks("sh")[:2] for line in block.strip().splitlines()]
    assert re.search(r"north +SGD +70 examples \(7 for validation\)", outputs[0])
    assert re.search(r"south +Optimizer +50 examples \(10 for validation\)", outputs[0])
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 50
    assert "2 agents, 120 examples" in outputs[2]
    assert (tmp_path / "shown.png").stat().st_size > 10_000
    assert re.search(r"labels are not judged.*: north, south", outputs[3])  # the pixels of this test are random


def test_the_experiment_on_text_runs(run, tmp_path):
    turns = {"speaker": ["ann", "bob"] * 30, "text": ["Who is there?", "Nay, answer me."] * 30}
    pq.write_table(pa.table(turns), tmp_path / "turns.parquet")
    (tmp_path / "test.txt").write_text("Who is there?\nNay, answer me.\n" * 5)
    (tmp_path / "speakers.yaml").write_text(blocks("yaml")[1])
    output = run("raycollab run speakers.yaml --scaling.pool=local")
    assert re.search(r"party-0 +Optimizer +26 examples \(3 for validation\), 0 rejected, +windows of 16", output)
    assert "bits_per_character" in output


def test_the_party_with_a_task_of_its_own_is_read():
    """What it leaves out, the shared task and test set, is that of the first file; nothing is opened."""
    common, own = (yaml.safe_load(block) for block in (blocks("yaml")[0], blocks("yaml")[2]))
    read = parse_experiment(yaml.safe_dump({**common, **own}), "own.yaml")
    (agent,) = read.members()
    assert read.exchange.include == ("trunk.*",)
    assert agent.task.num_classes == len(agent.shard.categories["label"]) == 5
    assert agent.test.path == "high_test.parquet"
    assert agent.task.model()(torch.zeros(2, 1, 28, 28)).shape == (2, 5)
