"""The commands from one end to the other: run, what it leaves behind, evaluate, predict, help, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

import raycollab
from raycollab.cli import main
from raycollab.data import Digits
from raycollab.experiment_file import parse_experiment, read_experiment

from .support import COMMAND, command_line, environment, sha256

NUM_TEST, CLASSES = 359, 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """`python -m raycollab run` on a cluster of its own, to a URI: what it printed and its folder."""
    home = tmp_path_factory.mktemp("home")
    done = command_line(
        "run", f"--run.dir={(home / 'out').as_uri()}", "--run.num_rounds=4", "--run.target", "accuracy > 0.6",
        "--scaling.agents_per_host=4", "--checkpoint.keep=1", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, home / "out" / "run-001"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The shared test set of digits as somebody else would store it: lists of pixels, and the digit."""
    columns, path = Digits("test").read(), tmp_path_factory.mktemp("data") / "digits.parquet"
    pixels = columns["image"].flatten(1).numpy()
    pq.write_table(pa.table({"image": list(pixels), "label": columns["label"].numpy()}), path)
    return path


@pytest.mark.ray
def test_what_a_run_prints(finished):
    done, run = finished
    assert "8 agents agreed on task" in done.stdout
    assert "9,610 parameters are exchanged" in done.stdout
    assert "round   1/4" in done.stdout
    assert "ended after 2 rounds: target accuracy > 0.6" in done.stdout
    assert f"run folder: {run}" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.ray
def test_the_run_folder(finished):
    _, run = finished
    assert sorted(path.name for path in run.iterdir()) == [
        "agents.parquet", "checkpoints", "experiment.yaml", "journal.jsonl", "model", "report.txt", "result.json",
        "rounds.parquet",
    ]  # fmt: skip
    result = json.loads((run / "result.json").read_text())
    assert result["rounds"] == 2
    assert result["stop_reason"] == "target accuracy > 0.6"
    assert result["metrics"]["accuracy"] > 0.6
    assert result["seed"] == 0
    assert result["seconds"] > 0
    assert {"raycollab", "ray", "torch", "numpy", "pyarrow", "python"} <= set(result["versions"])
    assert "weighted avg" in (run / "report.txt").read_text()
    assert sorted(path.name for path in (run / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    with safe_open(run / "model" / "model.safetensors", "np") as weights:
        assert sum(weights.get_tensor(name).size for name in weights.keys()) == 9610  # noqa: SIM118 - not a dict
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000002"]  # keep=1
    states = {path.stem for path in (run / "checkpoints" / "000002" / "agents").iterdir()}
    assert states == {"party-3", "party-7"}  # those whose learner keeps its momentum
    assert read_experiment(str(run / "experiment.yaml")).run.name == "run-001"


@pytest.mark.ray
def test_a_row_per_round(finished):
    _, run = finished
    rows = pq.read_table(run / "rounds.parquet").to_pylist()
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[-1]["stop_reason"] == "target accuracy > 0.6"
    assert rows[-1]["accuracy"] == json.loads((run / "result.json").read_text())["metrics"]["accuracy"]
    for row in rows:
        assert (row["agents"], row["failures"], row["attempts"]) == (8, 0, 1)
        sums = row["bytes_up"] / row["bytes_down"] * 2  # vectors from two hosts, for one to each of them
        assert sums in range(2, 9)  # at least the sum of what a host has, at most a delta from each agent
        assert row["train_loss"] > 0
        assert row["seconds"] > 0


@pytest.mark.ray
def test_a_row_per_agent_and_round(finished):
    _, run = finished
    rows = pq.read_table(run / "agents.parquet").to_pylist()
    assert [(row["round"], row["agent"]) for row in rows] == [(r, f"party-{i}") for r in (1, 2) for i in range(8)]
    for row in rows:
        assert row["bytes_sent"] == 4 * 9610
        assert row["examples"] == 2 * row["weight"] > 0  # two epochs over the shard
        assert min(row["loss"], row["norm"], row["seconds"]) > 0
        assert 0 <= row["val_accuracy"] <= 1
        assert row["failure"] == ""
        assert row["fresh"] is False


@pytest.mark.ray
def test_evaluate_scores_the_shared_set_and_a_file(finished, table, capsys):
    _, run = finished
    assert main(["evaluate", str(run)]) == 0
    shared = capsys.readouterr().out
    assert main(["evaluate", str(run / "model"), "--data", str(table)]) == 0
    scored = capsys.readouterr().out
    assert "f1-score" in scored
    assert (run / "report.txt").read_text().startswith(scored)  # which ends with what agents have of their own
    assert shared.startswith(scored)  # and ends with each agent by the common model
    assert f"alone: not computed yet; next: raycollab evaluate {run} --local-only" in shared


@pytest.mark.ray
def test_predict_writes_a_row_per_row(finished, table, tmp_path, capsys):
    _, run = finished
    assert main(["predict", str(run), str(table), "--out", str(tmp_path / "p.parquet")]) == 0
    assert f"{NUM_TEST} predictions written to {tmp_path}/p.parquet" in capsys.readouterr().out
    found = pq.read_table(tmp_path / "p.parquet").to_pydict()
    labels = pq.read_table(table)["label"].to_numpy()
    accuracy = json.loads((run / "result.json").read_text())["metrics"]["accuracy"]
    assert float(np.mean(np.array(found["prediction"]) == labels)) == pytest.approx(accuracy, abs=1e-9)
    assert all(1 / CLASSES <= probability <= 1 for probability in found["probability"])


@pytest.mark.ray
def test_a_finished_run_is_only_written_out_again(finished):
    """Resuming what has ended changes nothing; more rounds continue it."""
    _, run = finished
    before = sha256(run)
    assert main(["resume", str(run), "--scaling.pool=local"]) == 0
    assert sha256(run) == before


def test_print_config_is_the_experiment(capsys):
    """The printed file, and the file that it prints when it is printed again, are the same resolved experiment."""
    changed = ["--run.num_rounds=7", "--agents.partition.alpha=0.5", "--scaling.gpus_per_host=0.25"]
    assert main(["run", "--print-config", *changed]) == 0
    text = capsys.readouterr().out
    plain = yaml.safe_load(text)
    assert plain["run"]["num_rounds"] == 7
    assert plain["run"]["agents_per_round"] == 8
    assert plain["agents"]["init_args"]["partition"]["init_args"]["alpha"] == 0.5
    read = parse_experiment(text, "printed")
    assert read == read_experiment(None, changed).resolved()
    assert read == read.resolved()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["predict", "--help"], ["--version"], ["nonsense"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = """if True:
        import sys
        from raycollab.cli import main
        try: main(sys.argv[1:])
        finally: print(*sys.modules, file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    modules = set(done.stderr.splitlines()[-1].split())
    assert "raycollab.cli" in modules
    assert not modules & {"torch", "ray", "numpy", "pyarrow", "sklearn", "jsonargparse", "rich", "yaml"}
    wanted = {"--version": raycollab.__version__, "nonsense": ""}.get(arguments[0], "usage: raycollab")
    assert wanted in done.stdout
    assert done.returncode == (2 if arguments == ["nonsense"] else 0)


def test_both_ways_to_call_it():
    """The installed command and `python -m raycollab` are one."""
    script = Path(sys.executable).parent / "raycollab"
    if not script.exists():
        pytest.skip("the package is not installed here, only importable")
    texts = [subprocess.check_output([*command, "run", "--help"], timeout=60) for command in (COMMAND, (str(script),))]
    assert texts[0] == texts[1]
    assert b"--run.num_rounds=5" in texts[0]


def test_a_second_interruption_ends_with_130(monkeypatch, capsys):
    """Who does not wait for the round to end: nothing is promised but the code."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("raycollab.fitting.run_experiment", interrupted)
    assert main(["run", "--scaling.pool=local"]) == 130
    assert capsys.readouterr().err == "raycollab: interrupted\n"


def test_interrupted_runs_end_with_3_and_can_be_resumed(tmp_path, capsys):
    run = tmp_path / "long"
    settings = ("--run.num_rounds=2000", "--run.target=null", f"--run.dir={tmp_path}", "--run.name=long")
    process = subprocess.Popen(
        [*COMMAND, "run", "--scaling.pool=local", *settings], env=environment(tmp_path),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(run.glob("checkpoints/0*")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    done = int(max(path.name for path in run.glob("checkpoints/0*")))
    remedy = f"what was committed is kept; continue with `raycollab resume {run}`"
    stopped = f"raycollab: Interrupted: stopped after round {done}, which is kept"
    assert errors.decode() == f"{stopped}\nraycollab: {remedy}\n"
    assert main(["resume", str(run), f"--run.num_rounds={done + 1}"]) == 0
    assert f"resumed after round {done}" in " ".join(capsys.readouterr().out.split())
