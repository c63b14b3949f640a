"""Schedulers and searchers of Ray Tune, each in a whole sweep."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab import cli
from raycollab.checkpoint import RunFolder
from raycollab.driver import Driver
from raycollab.runtime.pool import LocalPool
from raycollab.sweeps import resume_search, search
from raycollab.sweeps.checks import checked
from raycollab.sweeps.room import Room
from raycollab.sweeps.trial import at

from .test_sweeps import HELD, experiment, settings, written
from .tracking import stand_in, tracked

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.cluster]
LR = "agents.learners.0.lr"
RATES = {LR: {"loguniform": [1e-3, 0.5]}}


def committed(folder):
    """Round and parameters of a run folder's newest checkpoint."""
    version, state = RunFolder.open(str(folder)).latest_checkpoint()
    return version, state["vectors"][str(version)]["params"]


def continued(text, config, found, folder):
    """Parameters after a run's folder was continued to its end, by itself, at these settings."""
    shutil.copytree(found, folder)
    going_on = at(text, config).resolved()
    pool = LocalPool(going_on.session(), going_on.members(), going_on.layout(num_cpus=1), "cpu")
    driver = Driver(going_on.plan(), pool, RunFolder.open(str(folder)))
    driver.start()
    while not driver.stop_reason:
        driver.step()
    return driver.vectors["params"]


def test_population_based_training(tmp_path, ray_cluster):
    """Of two trials the worse one goes on from the better one's model of round 2, with its own settings, bit for bit.

    Both are paused at round 2 and, at the end, changed no more: settings and score of a row belong to each other.
    """
    base, asked = (
        experiment("--run.num_rounds=4", f"--run.dir={tmp_path}"),
        settings(space=RATES, scheduler="pbt", grace=2, seed=1),
    )
    sweep = search(base, asked)
    (exploit,) = [json.loads(line) for line in (Path(sweep.path) / "pbt_global.txt").read_text().splitlines()]
    changed = exploit[-1]
    assert [row["rounds"] for row in sweep.rows] == [4, 4]
    assert [row["agent_updates"] for row in sweep.rows] == [32, 32]
    trials = {result.config[LR]: Path(result.path) for result in sweep.grid}
    assert changed[LR] in trials
    (better,) = [path for rate, path in trials.items() if rate != changed[LR]]
    assert exploit[-2][LR] in trials
    text, _, _ = checked(base, asked)
    start, worse = better / "checkpoint_000001", trials[changed[LR]]
    assert committed(start)[0] == 2
    version, params = committed(sorted(worse.glob("checkpoint_*"))[-1])
    assert version == 4
    assert torch.equal(params, continued(text, changed, start, tmp_path / "changed"))
    unchanged = continued(text, exploit[-2], start, tmp_path / "unchanged")
    assert not torch.equal(params, unchanged)
    assert torch.equal(committed(sorted(better.glob("checkpoint_*"))[-1])[1], unchanged)
    assert resume_search(sweep.path).rows == sweep.rows
    best = sweep.model()
    assert best.evaluate(HELD).compute()["accuracy"] == pytest.approx(sweep.rows[0]["accuracy"])
    assert torch.equal(
        torch.cat([each.detach().flatten() for each in best.module.parameters()]),
        committed(sorted(Path(sweep.rows[0]["folder"]).glob("checkpoint_*"))[-1])[1],
    )


def test_a_population_begins_as_the_experiment_stands(tmp_path, ray_cluster):
    """A rate at which next to nothing is learned: it and its neighbours on the list are tried, by whole rounds."""
    base = experiment(f"--{LR}=0.0001", "--run.num_rounds=2", f"--run.dir={tmp_path}")
    slow = {LR: {"choice": [0.0001, 0.01, 0.1]}}
    sweep = search(base, settings(space=slow, scheduler="pbt", as_given=True, num_samples=3))
    folders = [Path(row["folder"]) for row in sweep.rows]
    rows = [json.loads(line) for folder in folders for line in (folder / "result.json").read_text().splitlines()]
    first = [row for row in rows if row["round"] == 1]
    assert len(first) >= 2  # whoever comes last may go on from another's before Tune has written its row
    assert {row["config"][LR] for row in first} == {0.0001}
    assert len({row["accuracy"] for row in first}) == 1


def test_population_based_bandits(tmp_path, ray_cluster):
    """Of three trials the worst goes on three times from the best one's model; its rates are in the range, and resumed.

    A copy keeps the rate until two comparisons of its model are known, so that the third is the first that must change.
    """
    base = experiment("--run.num_rounds=8", f"--run.dir={tmp_path}")
    sweep = search(base, settings(space=RATES, scheduler="pb2", grace=2, num_samples=3))
    changes = [json.loads(line) for line in (Path(sweep.path) / "pbt_global.txt").read_text().splitlines()]
    assert [row["rounds"] for row in sweep.rows] == [8, 8, 8]
    assert [row["error"] for row in sweep.rows] == ["", "", ""]
    assert len(changes) == 3
    assert all(1e-3 <= after[LR] <= 0.5 for *_, after in changes)
    assert any(after[LR] != before[LR] for *_, before, after in changes)
    assert resume_search(sweep.path).rows == sweep.rows


@contextmanager
def one_is_killed(name, folder):
    """Kill one process that has got this name since, once a trial in the folder has reported a round.

    Of this process's own Ray, whose idle processes may be older: each is named anew by what it is used for.
    """
    killed, over = [], threading.Event()

    def named():
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "".join(process.cmdline()).startswith(name):
                    yield process

    before = {process.pid for process in named()}

    def kill():
        deadline = time.monotonic() + 120
        while not (killed or over.is_set()) and time.monotonic() < deadline:
            if any(each.stat().st_size for each in folder.glob("sweep-*/*/result.json")):
                killed.extend([process for process in named() if process.pid not in before][:1])
            time.sleep(0.05)
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_a_trial_whose_agents_die_fails_alone(tmp_path, ray_cluster):
    """With its reason, and nobody waits for it: the next one has the whole of the cluster, and goes to its end."""
    strict = rc.FailureConfig(max_restarts=0, min_agents=8, max_attempts=1)
    base = replace(
        experiment(f"--run.dir={tmp_path}", "--run.num_rounds=20"),
        scaling=rc.ScalingConfig(agents_per_host=4, cpus_per_host=0.5),
        failure=strict,
    )
    alone = settings(space={"run.seed": {"grid": [1, 2]}}, num_samples=1, scheduler="none", max_concurrent=1)
    with one_is_killed("ray::Host", tmp_path) as killed:
        rows = search(base, alone).rows
    assert killed
    assert [row["rounds"] for row in rows if not row["error"]] == [20]
    (failed,) = [row for row in rows if row["error"]]
    assert "QuorumError" in failed["error"]
    assert 1 <= failed["rounds"] < 20


def test_a_trial_whose_own_process_dies_fails_alone(tmp_path, ray_cluster):
    """With its reason; the next one has a new process, and goes to its end."""
    base = experiment(f"--run.dir={tmp_path}", "--run.num_rounds=20")
    alone = settings(space={"run.seed": {"grid": [1, 2]}}, num_samples=1, scheduler="none", max_concurrent=1)
    with one_is_killed("ray::ImplicitFunc", tmp_path) as killed:
        rows = search(base, alone).rows
    assert killed
    assert [row["rounds"] for row in rows if not row["error"]] == [20]
    (failed,) = [row for row in rows if row["error"]]
    assert "died" in failed["error"]
    assert 1 <= failed["rounds"] < 20


@pytest.mark.parametrize("kind", ["pbt", "pb2"])
def test_a_population_goes_on_without_a_trial_that_failed(kind, tmp_path, ray_cluster):
    """The others would wait for it, to be compared."""
    base = experiment(f"--run.dir={tmp_path}", "--run.num_rounds=20")
    with one_is_killed("ray::ImplicitFunc", tmp_path) as killed:
        rows = search(base, settings(space=RATES, scheduler=kind, grace=4, num_samples=3)).rows
    assert killed
    assert [row["rounds"] for row in rows if not row["error"]] == [20, 20]
    assert [row["rounds"] < 20 for row in rows if row["error"]] == [True]


def test_no_more_trials_at_once_than_fit(tmp_path, ray_cluster):
    """Each takes all eight cores of the cluster, so that one process is enough for three of them, one after another."""
    whole = rc.ScalingConfig(pool="local", threads_per_host=8)
    base = replace(experiment(f"--run.dir={tmp_path}"), scaling=whole)
    assert Room.of(base).at_once == 1
    sweep = search(base, settings(space=RATES, scheduler="none", num_samples=3))
    assert [row["error"] for row in sweep.rows] == [""] * 3
    assert len({result.metrics["pid"] for result in sweep.grid}) == 1


def test_mlflow_is_told(tmp_path, ray_cluster, monkeypatch):
    """A run a trial, with its settings and the score of every round, in an experiment of the sweep's name."""
    stand_in(monkeypatch)
    place = f"sqlite:///{tmp_path}/tracked.db"
    sweep = search(experiment(f"--run.dir={tmp_path}"), settings(space=RATES, scheduler="none", mlflow=place))
    told = tracked(place, Path(sweep.path).name)
    assert [run["status"] for run in told] == ["FINISHED"] * 2
    by_rate = {float(run["params"][LR]): run["scores"]["accuracy"] for run in told}
    assert sorted(by_rate) == sorted(row["settings"][LR] for row in sweep.rows)
    for row in sweep.rows:
        scores = by_rate[row["settings"][LR]]
        assert [step for step, _ in scores] == [1, 2]
        assert scores[-1][1] == row["accuracy"]


def test_optuna(tmp_path, ray_cluster):
    """Numbers, whole numbers and rules, in two processes for four trials; nothing is tried again on resume."""
    pytest.importorskip("optuna")
    space = {
        "chain.2.beta": {"uniform": [0.0, 0.9]},
        "agents.learners.0.epochs": {"randint": [1, 3]},
        "chain.1": {"choice": [{"class_path": "Mean"}, {"class_path": "Median"}]},
    }
    base = experiment(f"--run.dir={tmp_path}")
    sweep = search(base, settings(space=space, searcher="optuna", num_samples=4, max_concurrent=2))
    assert [row["error"] for row in sweep.rows] == [""] * 4
    assert len({row["settings"]["chain.2.beta"] for row in sweep.rows}) == 4
    assert len({result.metrics["pid"] for result in sweep.grid}) <= 2
    assert resume_search(sweep.path).rows == sweep.rows


@pytest.mark.parametrize(
    "how", [{"scheduler": "pbt", "space": RATES, "grace": 2}, {"searcher": "optuna", "max_concurrent": 1}]
)
def test_killed_and_resumed(how, tmp_path, ray_cluster):
    """kill -9 in the middle: every trial is there and at its end after the resume."""
    file = written(tmp_path, num_samples=3, **{"scheduler": "none", **how})
    code = "import sys; from raycollab.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "tune", file, "--address", ray_cluster, "--run.num_rounds=4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "sweep-001"
    try:
        deadline = time.monotonic() + 200
        while sum(len(each.read_text().splitlines()) for each in folder.glob("*/result.json")) < 7:
            assert time.monotonic() < deadline, "the sweep does not go on"
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    sweep = resume_search(str(folder))
    assert [row["rounds"] for row in sweep.rows] == [4, 4, 4]
    assert [row["error"] for row in sweep.rows] == ["", "", ""]


def test_the_command_compares(tmp_path, ray_cluster, capsys):
    """A newcomer's way: a file, a table, the winner's file, and both results on the test set at equal cost.

    Two rounds of one pass and two of four are ten rounds of the default's one pass, and not four.
    """
    epochs = [f"agents.learners.{place}.epochs" for place in range(4)]
    file = written(tmp_path, space={" ".join(epochs): {"grid": [1, 4]}}, scheduler="none", num_samples=1)
    assert cli.main(["tune", file, *(f"--{path}=1" for path in epochs), "--compare"]) == 0
    out = capsys.readouterr().out
    spent = re.search(r"2 trials, 0 of them failed: 32 updates of agents on ([\d,]+) examples", out)[1]
    _, winner, default = out[out.index("next: ") :].splitlines()
    assert f"next: raycollab run {tmp_path}/sweep-001/winner.yaml\n" in out
    assert winner.startswith("winner on the test set, after 2 rounds, 16 updates of agents on ")
    assert default.startswith(f"default on the test set, after 10 rounds, 80 updates of agents on {spent} examples: ")
    assert all("accuracy 0." in line for line in (winner, default))


def test_relative_paths_mean_what_they_mean_to_the_user(tmp_path, ray_cluster, monkeypatch):
    """Tune gives each trial a working folder of its own; data is found from where the sweep was asked for."""
    rows = rc.data.Holdout(rc.data.Digits("train"), "test", 0.2).read()
    table = pa.table({"image": list(rows["image"].flatten(1).numpy()), "label": rows["label"].numpy()})
    pq.write_table(table, tmp_path / "val.parquet")
    monkeypatch.chdir(tmp_path)
    sweep = search(
        experiment(f"--run.dir={tmp_path}"), settings(validation=rc.data.Parquet("val.parquet"), num_samples=1)
    )
    assert sweep.rows[0]["error"] == ""
