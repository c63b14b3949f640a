"""A run that is asked to stop: by SIGTERM, as a job is, or by Ctrl-C; what it committed is kept."""

import signal
import subprocess
import time

import pytest

from raycollab.cli import main

from .support import COMMAND, agents, command_line, environment, rounds, sha256

SETTINGS = ("--run.target=null", "--run.name=stopped", "--checkpoint.every=1000")


def stopped(folder, number, *settings):
    """A run that gets a signal after its fifth round, and has ended."""
    command = [*COMMAND, "run", *SETTINGS, f"--run.dir={folder}", "--run.num_rounds=100000", *settings]
    process = subprocess.Popen(
        command, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    journal, deadline = folder / "stopped" / "journal.jsonl", time.monotonic() + 240
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.05)
    process.send_signal(number)
    return process.communicate(timeout=240)[1], process.returncode


@pytest.mark.parametrize(
    ("number", "pool"),
    [
        pytest.param(signal.SIGTERM, "local", id="SIGTERM in one process"),
        pytest.param(signal.SIGINT, "local", id="Ctrl-C in one process"),
        pytest.param(signal.SIGTERM, "ray", id="SIGTERM on Ray", marks=pytest.mark.ray),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on_and_goes_on_to_the_same_bits(tmp_path, capsys, number, pool):
    errors, code = stopped(tmp_path, number, f"--scaling.pool={pool}", "--scaling.agents_per_host=4")
    run = tmp_path / "stopped"
    assert code == 3, errors
    assert "raycollab: Interrupted: stopped after round " in errors
    assert f"continue with `raycollab resume {run}`" in errors
    assert not (run / "driver.json").exists()
    done = max(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))
    assert done >= 5
    end = f"--run.num_rounds={done + 3}"
    assert main(["resume", str(run), end, "--scaling.pool=local"]) == 0
    alike = ("--run.target=null", "--run.name=whole", "--scaling.pool=local", "--scaling.agents_per_host=4")
    whole = ["run", *alike, f"--run.dir={tmp_path}", end]
    assert main(whole) == 0
    assert sha256(run) == sha256(tmp_path / "whole")
    assert rounds(run) == rounds(tmp_path / "whole")
    assert agents(run) == agents(tmp_path / "whole")


@pytest.mark.ray
def test_another_process_asks_a_run_how_it_is_and_stops_it(tmp_path, capsys):
    """On the cluster that the run has started for itself, which asks for a token: status, join, leave, stop, status."""
    (tmp_path / "late.yaml").write_text(
        "name: late\nshard: {class_path: Digits, init_args: {part: test}}\nlearner: {class_path: SGD}\n"
    )
    command = [*COMMAND, "run", *SETTINGS, f"--run.dir={tmp_path}", "--run.num_rounds=100000"]
    process = subprocess.Popen(
        [*command, "--scaling.agents_per_host=4"], env=environment(tmp_path), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal, deadline = tmp_path / "stopped" / "journal.jsonl", time.monotonic() + 240
    while not journal.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.05)
    run = tmp_path / "stopped"

    def said(*arguments):
        done = command_line(*arguments, home=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "state  running\n" in said("status", run)
    assert said("join", run, tmp_path / "late.yaml").startswith("late joined: 359 examples (36 for validation)")
    assert said("leave", run, "party-2") == "party-2 left\n"
    said("stop", run)
    assert "Interrupted: stopped after round " in process.communicate(timeout=240)[1]
    assert process.returncode == 3
    assert main(["status", str(run)]) == 0  # of what its folder says, as nobody answers
    assert "state  not running\n" in capsys.readouterr().out
