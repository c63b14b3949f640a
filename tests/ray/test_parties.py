"""Parties on nodes of their own, in a cluster of fake nodes: who runs where, and what is said if somebody cannot."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRACED = '''
from dataclasses import dataclass

import ray

from raycollab.data import Digits


@dataclass(frozen=True)
class Traced(Digits):
    """Digits of a party, which writes down where it is opened."""

    party: str = ""
    log: str = ""

    def read(self):
        labels = ray.get_runtime_context().get_node_labels()
        with open(self.log, "a") as file:
            file.write(f"{self.party} on {labels.get('raycollab.io/party', 'a node of nobody')}\\n")
        return super().read()
'''
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that every process of the cluster imports from."""
    folder = tmp_path_factory.mktemp("parties")
    (folder / "traced.py").write_text(TRACED)
    return folder


@pytest.fixture(scope="module")
def surroundings(place):
    return {**os.environ, "PYTHONPATH": f"{place}:{ROOT}", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def address(surroundings):
    """A head, and nodes of north, south, and twice of east."""
    command = [sys.executable, Path(__file__).with_name("party_nodes.py"), "north", "south", "east", "east"]
    with subprocess.Popen(
        command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        found = ""
        for line in process.stdout:
            if line.startswith("address: "):
                found = line.split()[1]
                break
        assert found, "the cluster did not start"
        yield found
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture
def raycollab(place, surroundings, address, tmp_path):
    """Runs a command on an experiment of these parties; returns its exit code, and what it said."""

    def call(command, *parties, **settings):
        shard = {"class_path": "traced.Traced", "init_args": {"part": "train", "log": str(tmp_path / "log")}}
        learner = {"class_path": "SGD", "init_args": {"lr": 0.1}}
        members = [
            {"name": name, "learner": learner, "shard": {**shard, "init_args": {**shard["init_args"], "party": name}}}
            for name in parties
        ]
        net = {"class_path": "MLP", "init_args": {"num_features": 64, "num_outputs": 10, "hidden": [16]}}
        experiment = {
            "task": {"class_path": "ImageClassification", "init_args": {"net": net, "num_classes": 10}},
            "agents": {"class_path": "Parties", "init_args": {"members": members}},
            "chain": [{"class_path": "Mean"}],
            "test": {"class_path": "Digits", "init_args": {"part": "test"}},
            "run": {"num_rounds": 2, "dir": str(tmp_path), "name": "run"},
            "scaling": {"on_party_nodes": True, **settings},
            "failure": {"start_timeout_s": 120},
        }
        (tmp_path / "parties.yaml").write_text(yaml.safe_dump(experiment))
        done = subprocess.run(
            [sys.executable, "-m", "raycollab", *command, str(tmp_path / "parties.yaml"), f"--address={address}"],
            env=surroundings, cwd=place, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return call


@pytest.mark.parametrize("spread", [False, True])
def test_a_partys_data_is_opened_on_its_node_alone(raycollab, tmp_path, spread):
    """Also where Ray keeps the actors apart itself; both take part in both rounds."""
    code, said = raycollab(["run"], "north", "south", spread=spread)
    assert code == 0, said
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["north on north", "south on south"]
    rows = pq.read_table(tmp_path / "run" / "agents.parquet").to_pylist()
    assert [(row["round"], row["agent"]) for row in rows if not row["failure"]] == [
        (1, "north"), (1, "south"), (2, "north"), (2, "south"),
    ]  # fmt: skip


def test_data_is_looked_at_where_it_is(raycollab, tmp_path):
    code, said = raycollab(["data", "check"], "north", "south")
    assert code == 0, said
    assert set((tmp_path / "log").read_text().splitlines()) == {"north on north", "south on south"}


@pytest.mark.parametrize(
    ("parties", "words"),
    [
        (("north", "west"), "ResourceError: no node carries the label raycollab.io/party of west; labels that exist: "),
        (("north", "east"), "ResourceError: the label raycollab.io/party of a party is held by more than one node: ea"),
    ],
)
def test_a_party_that_has_no_node_or_two_is_refused_in_seconds(raycollab, tmp_path, parties, words):
    start = time.monotonic()
    code, said = raycollab(["data", "check"], *parties)
    assert code == 1, said
    assert words in said
    assert not (tmp_path / "log").exists()
    assert time.monotonic() - start < 60
