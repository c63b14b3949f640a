"""A run that is killed at any point and resumed ends as if it had never been killed, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from raycollab.cli import main

from .support import COMMAND, agents, command_line, environment, rounds, sha256

SETTINGS = ("--run.target=null", "--checkpoint.every=3", "--scaling.agents_per_host=4")

# A run that kills itself at one place: `append 5` before the journal's 5th line is written, `torn 5` in the middle of
# it, any other word before a file with this end of its path is written.
DYING = """if True:
    import os, signal, sys
    from raycollab.cli import main
    from raycollab.storage import Storage
    place, arguments = sys.argv[1], sys.argv[2:]
    word, _, line = place.partition(" ")
    written, write, append = [0], Storage.write_bytes, Storage.append_line

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_write(self, path, data):
        if self.child(path).uri.endswith(place):
            die()
        write(self, path, data)

    def dying_append(self, path, text):
        written[0] += 1
        if word in ("append", "torn") and written[0] == int(line):
            if word == "torn":
                with open(self.child(path).uri, "a") as file:
                    file.write(text[: len(text) // 2])
            die()
        append(self, path, text)

    Storage.write_bytes, Storage.append_line = dying_write, dying_append
    main(arguments)
"""


def undisturbed(folder, num_rounds):
    """The same experiment in one go, in this process."""
    settings = (
        f"--run.num_rounds={num_rounds}",
        f"--run.dir={folder}",
        "--run.name=undisturbed",
        "--scaling.pool=local",
    )
    assert main(["run", *SETTINGS, *settings]) == 0
    return folder / "undisturbed"


def assert_same(run, reference):
    assert sha256(run) == sha256(reference)
    assert rounds(run) == rounds(reference)
    assert agents(run) == agents(reference)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("reference"), 8)


@pytest.mark.parametrize(
    ("place", "durable"),
    [
        pytest.param("append 1", {None}, id="before the first round is in the journal"),
        pytest.param("append 3", {None}, id="before the first checkpoint"),
        pytest.param("torn 5", {None, 3}, id="in the middle of a line of the journal"),  # round 3 may be half-written
        pytest.param("checkpoints/.tmp-000006/agents/party-7.safetensors", {3}, id="between two agents' states"),
        pytest.param("checkpoints/.tmp-000006/state.json", {3}, id="before a checkpoint is whole"),
        pytest.param("model/config.json", {8}, id="while the model is written"),
    ],
)
def test_killed_in_one_process(reference, tmp_path, place, durable):
    run = tmp_path / "killed"
    settings = ("--run.num_rounds=8", f"--run.dir={tmp_path}", "--run.name=killed", "--scaling.pool=local")
    done = subprocess.run(
        [sys.executable, "-c", DYING, place, "run", *SETTINGS, *settings],
        capture_output=True, env=environment(tmp_path), timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))
    assert (kept or [None])[-1] in durable
    assert not (run / "result.json").exists()
    assert main(["resume", str(run)]) == 0
    assert_same(run, reference)
    assert not list(run.rglob(".tmp-*"))


def process_tree(pid):
    """A process and everything below it, of whatever group."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


@pytest.mark.ray
def test_killed_on_ray_at_a_random_round(tmp_path):
    """SIGKILL to the whole process group, Ray included; a new process resumes it, on a Ray of its own."""
    num_rounds, run = 40, tmp_path / "killed"
    victim = random.Random(time.time_ns()).randint(1, num_rounds // 2)
    print(f"killed after round {victim}")  # noqa: T201 - pytest shows it if the test fails
    settings = (f"--run.num_rounds={num_rounds}", f"--run.dir={tmp_path}", "--run.name=killed")
    process = subprocess.Popen(
        [*COMMAND, "run", *SETTINGS, *settings], env=environment(tmp_path), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    journal, deadline = run / "journal.jsonl", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < victim:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.01)
    tree = process_tree(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(tree, timeout=60)
    names = [left.name() for left in alive if left.is_running()]
    for left in alive:
        left.kill()
    assert not names, "these outlived the process group's death"
    assert len(tree) > 5, "gcs_server, raylet, the driver and two hosts at least"
    assert not (run / "result.json").exists(), "it had ended before it could be killed"
    done = command_line("resume", run, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed after round" in done.stdout or victim <= 3
    assert_same(run, undisturbed(tmp_path, num_rounds))
