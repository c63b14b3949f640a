import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import raycollab as rc
from raycollab import cli
from raycollab.errors import ConfigError, ResourceError, RunFolderError
from raycollab.experiment_file import read_experiment
from raycollab.sweeps import Search, read_sweep, resume_search, search
from raycollab.sweeps.report import cost, draw_weights, shares, table

HELD = rc.data.Holdout(rc.data.Digits("train"), "test", 0.2)
LOCAL = ("--scaling.pool=local", "--run.num_rounds=2", "--run.target=null", "--agents.learners.0.epochs=1")
SPACE = {"chain.2.beta": {"choice": [0.0, 0.5]}}
RANGE = {"chain.2.beta": {"uniform": [0.0, 0.5]}}
SEARCH = {
    "space": SPACE,
    "validation": {
        "class_path": "Holdout",
        "init_args": {"source": {"class_path": "Digits"}, "keep": "test", "fraction": 0.2},
    },
}


def experiment(*overrides):
    return read_experiment(None, (*LOCAL, *overrides))


def settings(**changes):
    return Search(**{"space": SPACE, "validation": HELD, "num_samples": 2, **changes})


def written(path, **changes):
    """A sweep's file."""
    plain = {**experiment(f"--run.dir={path}").to_plain(), "search": {**SEARCH, **changes}}
    (path / "sweep.yaml").write_text(yaml.safe_dump(plain))
    return str(path / "sweep.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {}}, r"Search.space=\{\}: must name what is tried"),
        ({"space": {"run.seed": [1, 2]}}, r"Search.space\['run.seed'\]=\[1, 2\]: must be one of choice"),
        ({"space": {"run.seed": {"normal": [1, 2]}}}, r"must be one of choice, grid"),
        ({"space": {"chain.2.beta": {"uniform": [1, 0]}}}, r"two numbers, the lower one first"),
        ({"space": {"chain.2.beta": {"loguniform": [0, 1]}}}, r"must be above 0 for loguniform"),
        ({"space": {"run.seed": {"randint": [0.5, 1]}}}, r"must be whole numbers for randint"),
        ({"space": {"run.seed": {"choice": []}}}, r"must have a list of values"),
        ({"validation": "val.parquet"}, r"Search.validation='val.parquet': must be a Source"),
        ({"metric": "recall"}, r"Search.mode='': say how 'recall' is better"),
        ({"mode": "best"}, r"Search.mode='best'"),
        ({"scheduler": "hyper"}, r"Search.scheduler='hyper': must be one of"),
        ({"searcher": "bayes"}, r"Search.searcher='bayes': must be one of"),
        ({"num_samples": 0}, r"Search.num_samples=0: must be >= 1"),
        ({"budget_s": 0.0}, r"Search.budget_s=0.0: must be > 0 seconds"),
        ({"max_concurrent": 0}, r"Search.max_concurrent=0: must be >= 1"),
        ({"searcher": "optuna", "space": {"run.seed": {"grid": [1]}}}, r"write choice instead of grid"),
        ({"scheduler": "pbt", "space": {"run.seed": {"grid": [1]}}}, r"write choice instead of grid"),
        ({"scheduler": "pbt", "searcher": "optuna"}, r"scheduler='pbt' chooses by itself"),
        ({"scheduler": "pb2", "searcher": "optuna", "space": RANGE}, r"scheduler='pb2' chooses by itself"),
        ({"scheduler": "pb2"}, r"Search.scheduler='pb2': models numbers in ranges: take 'pbt' where there are choices"),
        ({"scheduler": "pb2", "max_concurrent": 2, "space": RANGE}, r"Search.max_concurrent=2: 'pb2' pauses trials"),
        ({"as_given": True}, r"Search.as_given=True: all trials would be the same: set scheduler='pbt' or 'pb2'"),
        ({"space": {" ": {"choice": [1]}}}, r"Search.space\[' '\]=.*: the path of a setting is text"),
        ({"mlflow": ""}, r"Search.mlflow='': must be where MLflow keeps runs, or null"),
        ({"scheduler": "pbt", "max_concurrent": 2}, r"Search.max_concurrent=2: 'pbt' pauses trials to compare all"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ConfigError, match=message):
        settings(**changes)


def test_a_file_is_read(tmp_path):
    read, found = read_sweep(written(tmp_path), ["--search.num_samples=3", "--run.seed=4"])
    assert found == settings(num_samples=3)
    assert read.run.seed == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: {seed: 1}", r"has no search: section"),
        ("- 1", r"has no search: section"),
        ("a: [", r"not YAML"),
    ],
)
def test_files_that_are_no_sweep(tmp_path, text, message):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sweep(str(tmp_path / "x.yaml"))


def test_an_unknown_key_of_the_section_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"search: .*trials"):
        read_sweep(written(tmp_path, trials=3))
    with pytest.raises(ConfigError, match=r"/nowhere.yaml: there is no such experiment file"):
        read_sweep("/nowhere.yaml")


def test_a_folder_that_is_no_sweep_or_somebody_elses(tmp_path, monkeypatch):
    with pytest.raises(RunFolderError, match=r"is no sweep: it has no sweep.yaml"):
        resume_search(str(tmp_path))
    written(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(RunFolderError, match=r"belongs to another user"):
        resume_search(str(tmp_path))


def test_another_space_is_refused_on_resume(tmp_path):
    read, found = read_sweep(written(tmp_path))
    other = replace(found, space={"chain.2.beta": {"choice": [0.0, 0.9]}})
    with pytest.raises(ConfigError, match=r"of another sweep: search.space.chain.2.beta.choice.1: 0.5 -> 0.9"):
        resume_search(str(tmp_path), (read, other))


def test_the_command_needs_a_file(capsys):
    assert cli.main(["tune"]) == 2
    assert "give an experiment file with a search: section" in capsys.readouterr().err


def test_the_table():
    rule = json.dumps({"class_path": "raycollab.Mean", "init_args": {"weights": "uniform", "by_agent": None}})
    row = {
        "settings": {"chain.2.beta": 0.5, "chain.1": rule},
        "accuracy": 0.9,
        "rounds": 2,
        "seconds": 1.5,
        "error": "",
    }
    spent = {"agent_updates": 16, "examples": 100}
    failed = {**row, **spent, "accuracy": None, "error": "QuorumError: none"}
    lines = table([{**row, **spent}, failed], "accuracy", {"a": 0.25, "b": 0.75}).splitlines()
    assert lines[0].split() == ["accuracy", "rounds", "updates", "examples", "seconds", "chain.2.beta", "chain.1"]
    assert lines[1].split() == ["0.9000", "2", "16", "100", "1.5", "0.5", "Mean(weights=uniform)"]
    assert lines[2].endswith("QuorumError: none")
    assert lines[3] == "2 trials, 1 of them failed: 32 updates of agents on 200 examples, 3 s of trials"
    assert lines[4] == "shares of the weight in the best one's last round: b 0.75, a 0.25"
    many = {f"agent-{place}": 1 / 30 for place in range(30)}
    assert table([{**row, **spent}], "accuracy", many).endswith("agent-19 0.0333 and 10 more")
    assert len(table([{**row, **spent}], "accuracy", {}).splitlines()) == 3


def test_what_rounds_cost():
    """Passes count anew, and updates that did not arrive not at all."""
    arrived = {"agent": "a", "failure": "", "examples": 30}
    assert cost([arrived, arrived, {"agent": "b", "failure": "late"}]) == {"agent_updates": 2, "examples": 60}


def test_weights_are_drawn(tmp_path):
    """Shares of what arrived: 1 and 3 of 4; a failed agent has none, and neither has a round without weight."""
    rows = [{"agent": name, "weight": weight, "failure": ""} for name, weight in (("a", 1.0), ("b", 3.0))]
    failed = {"agent": "c", "weight": 0.0, "failure": "late"}
    assert shares([*rows, failed]) == {"a": 0.25, "b": 0.75}
    assert shares([failed]) == {}
    rounds = [{"round": 1, "agent_rows": rows}, {"round": 2, "agent_rows": [failed]}]
    draw_weights(rounds, tmp_path / "weights.png")
    assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.ray
def test_a_sweep_on_ray(tmp_path, ray_cluster):
    """Local trials; then its resume runs nothing again, and its winner runs; then with actors; then one that fails."""
    base = experiment(f"--run.dir={tmp_path}")
    learned = rc.LearnedWeights(rc.data.Holdout(rc.data.Holdout(rc.data.Digits("train"), "train", 0.2), "test", 0.2))
    space = {"chain.2.beta": {"grid": [0.0, 0.5]}, "chain.1": {"choice": [learned]}}
    sweep = search(base, settings(space=space, num_samples=1))
    assert sweep.rows[0]["rounds"] == 2
    assert sweep.rows[0]["accuracy"] >= sweep.rows[1]["accuracy"]
    assert {path.name for path in Path(sweep.path).iterdir()} >= {
        "winner.yaml",
        "trials.png",
        "weights.png",
        "trials.json",
    }
    assert list(Path(sweep.path).glob("*/events.*"))
    again = resume_search(sweep.path)
    assert again.rows == sweep.rows
    winner, default = sweep.compare()
    assert cost(default.agents)["examples"] >= sum(row["examples"] for row in sweep.rows)
    assert sum(sweep.shares.values()) == pytest.approx(1)
    assert winner.metrics["accuracy"] > 0.3
    lost = settings(space={"chain.2.beta": {"choice": [0.0]}, "failure.max_norm": {"grid": [1e-9, 1e8]}}, num_samples=1)
    rows = search(base, lost).rows
    assert [row["error"] == "" for row in rows] == [True, False]
    assert "QuorumError" in rows[1]["error"]
    actors = replace(base, scaling=rc.ScalingConfig(agents_per_host=4, cpus_per_host=0.5))
    assert search(actors, settings(num_samples=1)).rows[0]["error"] == ""
    with pytest.raises(ResourceError, match=r"ask for 4000 CPU; the cluster has 8 CPU, 0 GPU on 1 node"):
        search(replace(base, scaling=rc.ScalingConfig(agents_per_host=4, cpus_per_host=2000)), settings())


def killed_in_its_second_trial(file, folder, address):
    """Run a sweep by the command, four rounds a trial, and kill -9 that process once a second trial has begun."""
    code = "import sys; from raycollab.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "tune", file, "--address", address, "--run.num_rounds=4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while sum(len(each.read_text().splitlines()) for each in folder.glob("*/result.json")) < 5:
            assert time.monotonic() < deadline, "no second trial began"
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()


@pytest.mark.ray
def test_killed_and_resumed(tmp_path, ray_cluster):
    """kill -9 once the first trial has ended: the sweep is finished, and what had ended is not run again."""
    space = {"run.seed": {"grid": [1, 2, 3]}}
    file = written(tmp_path, space=space, scheduler="none", num_samples=1, max_concurrent=1)
    folder = tmp_path / "sweep-001"
    killed_in_its_second_trial(file, folder, ray_cluster)
    ended = [each for each in folder.glob("*/result.json") if len(each.read_text().splitlines()) == 4]
    before = {each: each.read_bytes() for each in ended}
    sweep = resume_search(str(folder))
    assert [row["rounds"] for row in sweep.rows] == [4, 4, 4]
    assert sorted(row["settings"]["run.seed"] for row in sweep.rows) == [1, 2, 3]
    assert before
    assert all(each.read_bytes() == held for each, held in before.items())
    assert cli.main(["tune", "--resume", str(folder), file, "--search.num_samples=9"]) == 2
