"""Hosts with addresses and labels of their own run the main job; one is cut off, another killed, all made slow.

With network namespaces; where they are not allowed the same parties run on fake nodes, in tests/ray/test_parties.py.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from raycollab.deploy import load_model

from .hosts import HEAD, PORT, hosts, not_allowed, run_on_head

ROOT = Path(__file__).parents[2]
PARTIES = ["party-0", "party-1", "party-2"]
ROUNDS = 80
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _allowed():
    if why := not_allowed():
        pytest.skip(why)


@pytest.fixture
def surroundings(tmp_path):
    """The environment of all processes; Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="rn-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.mkdir(f"{folder}/ray")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
        yield {**clean, **token, "RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT), "HOME": folder}


@contextmanager
def running(tmp_path, surroundings, *settings):
    """The main job, with settings, on the head's cluster; killed if the test fails."""
    command = [sys.executable, "-m", "raycollab", "run", f"--address={HEAD}:{PORT}", "--scaling.on_party_nodes=true"]
    command += [f"--run.dir={tmp_path}", "--run.name=run", "--run.target=null", *settings]
    with open(tmp_path / "run.log", "w") as log:
        process = run_on_head(*command, env=surroundings, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=60)


def rounds(tmp_path):
    path = tmp_path / "run" / "journal.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def wait_for_rounds(process, tmp_path, count):
    deadline = time.monotonic() + 300
    while len(rounds(tmp_path)) < count:
        assert process.poll() is None, "the run ended"
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.1)


def largest_object(surroundings):
    """Bytes of the largest object that any process of any node holds on to, in a store or in its own memory."""
    asked = (
        "from ray._private.internal_api import get_state_from_address, node_stats\n"
        f"nodes = get_state_from_address('{HEAD}:{PORT}').node_table()\n"
        "stats = [node_stats(node['NodeManagerAddress'], node['NodeManagerPort']) for node in nodes if node['Alive']]\n"
        "processes = [each for node in stats for each in node.core_workers_stats]\n"
        "print(max(ref.object_size for each in processes for ref in each.object_refs))"
    )
    with run_on_head(sys.executable, "-c", asked, env=surroundings, stdout=subprocess.PIPE, text=True) as process:
        return int(process.communicate(timeout=60)[0])


def recomputed(tmp_path, rows):
    """The parameters where these agents take part in each round, computed in this process."""
    from benchmarks.chaos.reference import Reference
    from raycollab.experiment_file import read_run

    reference = Reference(read_run(str(tmp_path / "run")), str(tmp_path))
    point = reference.start
    for index in range(1, ROUNDS + 1):
        present = [row["agent"] for row in rows if row["round"] == index and not row["failure"]]
        point = reference.after(point, {name: max(point.memory.get(name, {0: None})) for name in present})
    return point.state["vectors"][str(ROUNDS)]["params"]


def test_one_host_is_cut_off_and_another_killed(tmp_path, surroundings):
    """The third goes on, each failure is a row, and the model has the bits that these rounds have in one process.

    What leaves a host is about an update a round, 38 KB of float32, and no object of any host is as large as the 479
    examples of a party, 123 KB.
    """
    with hosts(PARTIES, tmp_path, surroundings) as (first, second, third):
        settings = ["--agents.partition.num_parts=3", f"--run.num_rounds={ROUNDS}"]
        settings += ["--failure.round_timeout_s=10", "--failure.start_timeout_s=30"]
        with running(tmp_path, surroundings, *settings) as process:
            wait_for_rounds(process, tmp_path, 5)
            before, at = third.received(), len(rounds(tmp_path))
            largest = largest_object(surroundings)
            wait_for_rounds(process, tmp_path, at + 5)
            sent, done = third.received() - before, len(rounds(tmp_path)) - at
            first.cut_off()
            wait_for_rounds(process, tmp_path, len(rounds(tmp_path)) + 2)
            second.kill()
            assert process.wait(timeout=600) == 0, (tmp_path / "run.log").read_text()
    rows = pq.read_table(tmp_path / "run" / "agents.parquet").to_pylist()
    assert {row["agent"] for row in rows if row["failure"]} == {"party-0", "party-1"}
    there = [row["round"] for row in rows if row["agent"] == "party-2" and not row["failure"]]
    assert there == list(range(1, ROUNDS + 1))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["rounds"] == ROUNDS
    trained = load_model(str(tmp_path / "run")).module.parameters()
    assert torch.equal(torch.cat([each.detach().flatten() for each in trained]), recomputed(tmp_path, rows))
    assert 4 * 9_610 < sent / done < 3 * 4 * 9_610
    assert 0 < largest < 479 * 64 * 4


@pytest.mark.long
@pytest.mark.cluster
def test_a_round_takes_longer_by_what_the_model_says_of_a_slow_network(tmp_path, surroundings):
    """cluster/SCALING.md for 2 nodes and 2.5 M parameters: n B / W for the round, and n B / W for the updates.

    Each of the two cables carries 50 Mbit/s, so that W is 12.5 MB/s, and 2 * 9.9 MB take 1.6 s each way. Headers of TCP
    and of Ray, and two cores for all, allow for the rest.
    """
    learner = "{class_path: SGD, init_args: {lr: 0.01, batch_size: 1000}}"
    settings = ["--agents.partition.num_parts=2", "--task.net.hidden=[33000]", f"--agents.learners=[{learner}]"]
    settings += ["--run.num_rounds=13", "--run.eval_every=13", "--checkpoint.every=13"]
    with hosts(PARTIES[:2], tmp_path, surroundings) as made, running(tmp_path, surroundings, *settings) as process:
        wait_for_rounds(process, tmp_path, 6)
        for host in made:
            host.limit("50mbit")
        limited = len(rounds(tmp_path)) + 1  # the round under way is of neither kind
        assert process.wait(timeout=300) == 0, (tmp_path / "run.log").read_text()
    rows = pq.read_table(tmp_path / "run" / "rounds.parquet").to_pylist()
    fast = statistics.median(row["seconds"] for row in rows[2 : limited - 1])
    slow = statistics.median(row["seconds"] for row in rows[limited:-1])
    crossed = rows[limited]["bytes_up"] + rows[limited]["bytes_down"]
    assert crossed == pytest.approx(2 * 2 * 4 * 2_475_010, rel=0.01)
    assert 0.8 < (slow - fast) / (crossed / 12.5e6) < 1.5
