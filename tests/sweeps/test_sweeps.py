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
from raycollab.errors import ConfigError, DataError, ResourceError, RunFolderError
from raycollab.experiment_file import read_experiment
from raycollab.sweeps import Search, checks, read_sweep, resume_search, search
from raycollab.sweeps.checks import checked
from raycollab.sweeps.report import _shares, draw_weights, table
from raycollab.sweeps.trial import at

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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"chain.2.gamma": {"choice": [1.0]}}}, r"Search.space\['chain.2.gamma'\]: 1.0 cannot be set there"),
        ({"space": {"chain.9.beta": {"choice": [1.0]}}}, r"Search.space\['chain.9.beta'\].*no such element"),
        ({"space": {"run.rounds": {"choice": [1]}}}, r"Search.space\['run.rounds'\]: 1 cannot be set there"),
        ({"space": {"run.num_rounds": {"uniform": [1.5, 2]}}}, r"1.5 cannot be set there"),
        ({"space": {"chain.2.beta": {"choice": [0.5, 2.0]}}}, r"2.0 cannot be set there: .*beta"),
        ({"space": {"chain.1": {"choice": [rc.Mean(by_agent={"nobody": 1.0})]}}}, r"there is no agent 'nobody'"),
        ({"space": {"scaling.pool": {"choice": ["ray"]}}}, r"all trials have scaling in common"),
        ({"space": {"run.seed scaling.pool": {"choice": [1]}}}, r"all trials have scaling in common"),
        ({"space": {"run.dir": {"choice": ["x"]}}}, r"all trials have run.dir in common"),
        ({"metric": "recall", "mode": "max"}, r"target metric 'recall' is not reported by this task; it reports"),
    ],
)
def test_what_does_not_fit_the_experiment(changes, message):
    with pytest.raises(ConfigError, match=message):
        checked(experiment(), settings(**changes))


def test_trials_that_are_never_compared():
    with pytest.raises(ConfigError, match=r"run.eval_every=5 leaves only the last of 2; lower it"):
        checked(experiment("--run.eval_every=5"), settings())
    checked(experiment("--run.eval_every=5"), settings(scheduler="none"))


def test_a_tracker_that_is_not_installed(monkeypatch):
    """Said before the first trial; where it is installed, or not asked for, nothing is said."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "mlflow" else name)
    with pytest.raises(ConfigError, match=r"Search.mlflow='runs': mlflow is not installed; run `pip install mlflow`"):
        checked(experiment(), settings(mlflow="runs"))
    checked(experiment(), settings())
    monkeypatch.setattr(checks, "find_spec", lambda name: name)
    checked(experiment(), settings(mlflow="runs"))


def test_validation_rows_of_the_test_set_are_refused():
    with pytest.raises(DataError, match=r"the validation set of the search: .*359 of its 359 rows"):
        checked(experiment(), settings(validation=rc.data.Digits("test")))


def test_what_stands_only_in_memory_is_refused():
    found = replace(experiment(), test=rc.data.Arrays(rc.data.Digits("test").read()))
    memory = rc.data.Arrays(rc.data.Digits("train").read())
    split = rc.Split(memory, rc.Dirichlet(0.3, num_parts=8), (rc.SGD(lr=0.1),))
    with pytest.raises(ConfigError, match=r"search: the experiment holds .*Arrays"):
        checked(replace(found, agents=split), settings())


def test_checked_trials_are_scored_on_the_validation_set():
    text, metric, mode = checked(experiment(), settings())
    assert at(text, {"chain.2.beta": 0.25}).test == HELD
    assert at(text, {"chain.2.beta": 0.25}).chain[2].beta == 0.25
    assert at(text, {"chain.1": json.dumps({"class_path": "Median"})}).chain[1] == rc.Median()
    assert (metric, mode) == ("accuracy", "max")


def test_several_paths_get_the_same_value():
    """A rate that both learns and judges is one setting; each path is checked."""
    name = "chain.2.beta agents.learners.1.momentum"
    text, _, _ = checked(experiment(), settings(space={name: {"uniform": [0.1, 0.9]}}))
    tried = at(text, {name: 0.25})
    assert (tried.chain[2].beta, tried.agents.learners[1].momentum) == (0.25, 0.25)
    with pytest.raises(ConfigError, match=r"learners.7: there is no such element"):
        checked(experiment(), settings(space={"chain.2.beta agents.learners.7.momentum": {"choice": [0.1]}}))


def test_weights_by_agent_are_a_space():
    """loguniform weights of all agents but one are the softmax of as many uniform logits; the winner names them."""
    base = replace(experiment(), chain=(rc.Mean(by_agent={"party-0": 1.0}),))
    names = [f"party-{place}" for place in range(1, 8)]
    space = {f"chain.0.by_agent.{name}": {"loguniform": [0.01, 100.0]} for name in names}
    text, _, _ = checked(base, settings(space=space))
    tried = at(text, dict.fromkeys(space, 0.5)).chain[0]
    assert tried == rc.Mean(by_agent={"party-0": 1.0, **dict.fromkeys(names, 0.5)})
    nobody = {"chain.0.by_agent.nobody": {"loguniform": [0.01, 100.0]}}
    with pytest.raises(ConfigError, match=r"Search.space\['chain.0.by_agent.nobody'\]: .*there is no agent 'nobody'"):
        checked(base, settings(space=nobody))


def test_how_an_agent_meta_learns_is_a_space():
    """Inner rate, inner steps, order and tasks a step of MAML, on the few-shot example; its own checks hold."""
    few_shot = read_experiment(str(Path(__file__).parents[2] / "examples" / "few_shot.yaml"))
    learner = "agents.learners.0."
    space = {
        f"{learner}lr": {"loguniform": [0.03, 3.0]},
        f"{learner}steps": {"randint": [1, 6]},
        f"{learner}order": {"choice": [1, 2]},
        f"{learner}episodes": {"choice": [4, 8, 16]},
    }
    text, _, _ = checked(few_shot, settings(space=space))
    tried = dict(zip(space, (0.1, 5, 1, 16), strict=True))
    (found,) = at(text, tried).agents.learners
    assert (found.lr, found.steps, found.order, found.episodes) == (0.1, 5, 1, 16)
    with pytest.raises(ConfigError, match=r"MAML.order=3: must be 1 or 2"):
        checked(few_shot, settings(space={f"{learner}order": {"choice": [3]}}))


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
    lines = table([{**row, **spent}, failed], "accuracy").splitlines()
    assert lines[1].split() == ["0.9000", "2", "1.5", "0.5", "Mean(weights=uniform)"]
    assert lines[2].endswith("QuorumError: none")
    assert lines[3] == "2 trials, 1 of them failed: 32 updates of agents on 200 examples, 3 s of trials"


def test_weights_are_drawn(tmp_path):
    """Shares of what arrived: 1 and 3 of 4; a failed agent has none, and neither has a round without weight."""
    rows = [{"agent": name, "weight": weight, "failure": ""} for name, weight in (("a", 1.0), ("b", 3.0))]
    failed = {"agent": "c", "weight": 0.0, "failure": "late"}
    assert _shares([*rows, failed]) == {"a": 0.25, "b": 0.75}
    assert _shares([failed]) == {}
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
    assert default.num_rounds * 8 >= sum(row["agent_updates"] for row in sweep.rows)
    assert winner.metrics["accuracy"] > 0.3
    lost = settings(space={"chain.2.beta": {"choice": [0.0]}, "failure.max_norm": {"grid": [1e-9, 1e8]}}, num_samples=1)
    rows = search(base, lost).rows
    assert [row["error"] == "" for row in rows] == [True, False]
    assert "QuorumError" in rows[1]["error"]
    actors = replace(base, scaling=rc.ScalingConfig(agents_per_host=4, cpus_per_host=0.5))
    assert search(actors, settings(num_samples=1)).rows[0]["error"] == ""
    with pytest.raises(ResourceError, match=r"ask for 4000 CPU"):
        search(replace(base, scaling=rc.ScalingConfig(agents_per_host=4, cpus_per_host=2000)), settings())


@pytest.mark.ray
def test_killed_and_resumed(tmp_path, ray_cluster):
    """kill -9 once the first trial has ended: the sweep is finished, and what had ended is not run again."""
    space = {"run.seed": {"grid": [1, 2, 3]}}
    file = written(tmp_path, space=space, scheduler="none", num_samples=1, max_concurrent=1)
    code = "import sys; from raycollab.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "tune", file, "--address", ray_cluster, "--run.num_rounds=4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "sweep-001"
    try:
        deadline = time.monotonic() + 120
        while sum(len(each.read_text().splitlines()) for each in folder.glob("*/result.json")) < 5:
            assert time.monotonic() < deadline, "no second trial began"
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    ended = [each for each in folder.glob("*/result.json") if len(each.read_text().splitlines()) == 4]
    before = {each: each.read_bytes() for each in ended}
    sweep = resume_search(str(folder))
    assert [row["rounds"] for row in sweep.rows] == [4, 4, 4]
    assert sorted(row["settings"]["run.seed"] for row in sweep.rows) == [1, 2, 3]
    assert before
    assert all(each.read_bytes() == held for each, held in before.items())
    assert cli.main(["tune", "--resume", str(folder), file, "--search.num_samples=9"]) == 2
