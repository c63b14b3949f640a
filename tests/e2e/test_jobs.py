"""`raycollab submit` to a real head: followed, asked, stopped and resumed from elsewhere; and what it refuses."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
import time
from urllib.request import Request, urlopen

import pytest

from raycollab.cli import main

from .support import COMMAND, command_line, environment, sha256

SMALL = ("--run.num_rounds=2", "--run.target=null", "--scaling.agents_per_host=4", "--scaling.cpus_per_host=1")


@pytest.fixture
def work(tmp_path):
    """A working folder with an experiment, and something in it that must not travel."""
    from raycollab.experiment_file import read_experiment, to_yaml

    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "my.yaml").write_text(to_yaml(read_experiment()))
    (folder / ".rayignore").write_text("secret.parquet\n")
    (folder / "secret.parquet").write_bytes(b"rows" * 1000)
    return folder


@pytest.fixture
def call(head, work):
    """Runs a command where somebody sits who has the token."""

    def called(*arguments, **more):
        return command_line(*arguments, home=work, **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token, **more})

    return called


pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]


def job_of(text):
    return re.search(r"job (\S+) is submitted", text)[1]


def tasks_of(head):
    """Names of the tasks that the dashboard shows."""
    asked = Request(f"{head.dashboard}/api/v0/tasks?limit=1000", headers={"Authorization": f"Bearer {head.token}"})
    with urlopen(asked, timeout=30) as answer:
        return {task["name"] for task in json.load(answer)["data"]["result"]["result"]}


def test_a_job_is_followed_and_its_run_is_that_of_one_process(call, head, work, tmp_path):
    """The exit code is the run's; what .rayignore names stays here; names are not read by a shell."""
    odd = tmp_path / "a $(touch pwned); b"
    done = call("submit", "my.yaml", f"--address={head.dashboard}", *SMALL, f"--run.dir={odd}", "--run.name=job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run folder: {odd}/job" in done.stdout
    assert main(["run", str(work / "my.yaml"), *SMALL[:2], "--scaling.pool=local", f"--run.dir={tmp_path}",
                 "--run.name=local"]) == 0  # fmt: skip
    assert sha256(odd / "job") == sha256(tmp_path / "local")
    assert list(head.folder.rglob("my.yaml")) != []
    assert list(head.folder.rglob("secret.parquet")) == list(head.folder.rglob("pwned")) == []
    job = job_of(done.stdout)
    assert f"{job}  SUCCEEDED" in call("status", f"--address={head.dashboard}").stdout
    assert "ended after 2 rounds" in call("logs", job, f"--address={head.dashboard}").stdout
    assert {"round 1", "round 2"} <= tasks_of(head)
    again = call("resume", odd / "job", "--run.num_rounds=3", f"--address={head.dashboard}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resumed after round 2" in again.stdout


def test_a_detached_job_survives_its_submitter_answers_another_shell_and_stops_with_a_checkpoint(call, head, tmp_path):
    runs = tmp_path / "runs"
    long = ("--run.num_rounds=100000", "--run.target=null", "--scaling.agents_per_host=8", "--scaling.cpus_per_host=1")
    done = call("submit", "--detach", f"--address={head.dashboard}", *long, f"--run.dir={runs}", "--run.name=long")
    assert done.returncode == 0, done.stdout + done.stderr
    job, journal, deadline = job_of(done.stdout), runs / "long" / "journal.jsonl", time.monotonic() + 120
    while not journal.exists():
        assert time.monotonic() < deadline, call("logs", job, f"--address={head.dashboard}").stdout
        time.sleep(0.2)
    listed = call("status", f"--address={head.address}")
    assert f"{runs}/long\n" in listed.stdout, listed.stderr
    assert "state  running\n" in listed.stdout
    assert f"{job}  RUNNING" in call("status", job, f"--address={head.dashboard}").stdout
    stopped = call("stop", job, f"--address={head.dashboard}")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    committed = journal.read_bytes().count(b"\n")
    assert max(int(path.name) for path in (runs / "long" / "checkpoints").glob("[0-9]*")) == committed
    assert not (runs / "long" / "driver.json").exists()
    again = call("stop", job, f"--address={head.dashboard}")
    assert "has ended already: STOPPED" in again.stderr


@pytest.mark.parametrize(("choice", "code"), [("leave", 130), ("stop", 3)])
def test_ctrl_c_leaves_the_job_or_stops_it(head, work, tmp_path, choice, code):
    """Nobody is asked, as this is no terminal."""
    command = [*COMMAND, "submit", f"--address={head.dashboard}", f"--on-interrupt={choice}", "--run.num_rounds=100000",
               "--run.target=null", f"--run.dir={tmp_path}", f"--run.name={choice}", *SMALL[2:]]  # fmt: skip
    tokens = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token}
    process = subprocess.Popen(
        command, cwd=work, env=environment(work, **tokens), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    while "round   2/" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == code, said + rest
    job, left = job_of(said), choice == "leave"
    now = command_line("status", job, f"--address={head.dashboard}", home=work, **tokens).stdout
    assert f"{job}  {'RUNNING' if left else 'STOPPED'}" in now
    if left:
        assert f"job {job} goes on" in rest
        assert command_line("stop", job, f"--address={head.dashboard}", home=work, **tokens).returncode == 0


@pytest.mark.parametrize(("answer", "code", "status"), [("\n", 130, "RUNNING"), ("y\n", 3, "STOPPED")])
def test_ctrl_c_on_a_terminal_asks(head, call, work, tmp_path, answer, code, status):
    """The terminal is a real one; whoever just presses return leaves the job."""
    command = [*COMMAND, "submit", f"--address={head.dashboard}", "--run.num_rounds=100000", "--run.target=null",
               f"--run.dir={tmp_path}", *SMALL[2:]]  # fmt: skip
    tokens = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=work, env=environment(work, **tokens), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    said = until(ours, "round   2/")
    os.write(ours, b"\x03")  # as the key does; the terminal makes a signal of it
    assert f"stop job {job_of(said)} as well, after its round? [y/N] " in until(ours, "[y/N] ")
    os.write(ours, answer.encode())
    rest = until(ours, None)
    assert process.wait(timeout=120) == code, rest
    assert f"{job_of(said)}  {status}" in call("status", job_of(said), f"--address={head.dashboard}").stdout
    if status == "RUNNING":
        assert call("stop", job_of(said), f"--address={head.dashboard}").returncode == 0


def until(terminal, words):
    """What is written on a terminal until these words are; None reads on until nobody writes any more."""
    said = ""
    while words is None or words not in said:
        try:
            part = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # nobody has it open any more
            part = ""
        if not part:
            assert words is None, said
            break
        said += part
    return said


def test_a_job_that_fails_gives_its_exit_code(call, head, tmp_path):
    """A setting that only the cluster can refuse: what is asked for is not there."""
    done = call("submit", f"--address={head.dashboard}", f"--run.dir={tmp_path}", "--scaling.gpus_per_host=1",
                "--failure.start_timeout_s=2")  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "ResourceError: 8 actors of" in done.stdout


@pytest.mark.parametrize("where", ["dashboard", "address"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "export RAY_AUTH_TOKEN_PATH=~/.ray/auth_token"),
        ({"RAY_AUTH_MODE": "disabled"}, "export RAY_AUTH_MODE=token"),
    ],
)
def test_a_wrong_or_missing_token_is_explained(call, head, tmp_path, more, words, where):
    """Once, and before Ray tries for half a minute."""
    start, address = time.monotonic(), getattr(head, where)
    command = "submit" if where == "dashboard" else "run"
    done = call(command, f"--address={address}", f"--run.dir={tmp_path}", **more)
    assert done.returncode == 1
    assert f"ClusterError: Ray cluster at {address}: " in done.stderr
    assert words in done.stderr
    assert "gcs_client" not in done.stderr
    assert time.monotonic() - start < 60


def test_doctor_finds_what_is_wrong_with_a_head(call, head, tmp_path):
    done = call("doctor", f"--address={head.address}", f"--storage={tmp_path}")
    assert "ok  token: asked for by every node" in done.stdout, done.stderr
    assert "ok  storage: " in done.stdout
    assert not list(tmp_path.glob(".raycollab-doctor*"))
    missing = call("doctor", f"--address={head.address}", "--storage=/proc/nowhere")
    assert missing.returncode == 1
    assert "!!  storage: " in missing.stdout
    assert "this machine cannot write there: cannot write /proc/nowhere" in missing.stdout
