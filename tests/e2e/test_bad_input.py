"""Bad input is refused with what, where and a remedy, and nothing is lost: no half-made folder, no changed file."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

import raycollab as rc
from raycollab.cli import main

from .support import agents, command_line, sha256

LOCAL = "--scaling.pool=local"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail; returns its message, which is the last thing on stderr."""

    def call(*arguments, code=2):
        assert main([*map(str, arguments)]) == code
        message = capsys.readouterr().err
        assert message.startswith("raycollab: ")
        assert "Traceback" not in message
        assert not Path("runs").exists() or not list(Path("runs").iterdir()), "a folder is in the way"
        return " ".join(message.split())

    return call


def write(name="parties.yaml", **changes):
    """An experiment file with two parties, each with a Parquet file of 30 good rows, and something changed."""
    Path("south.parquet").exists() or [table(f"{party}.parquet") for party in ("north", "south", "test")]
    agents = [agent(party) for party in ("north", "south")]
    plain = {
        "task": {"class_path": "Classification", "init_args": {"net": {"class_path": "MLP", "init_args": {"num_features": 4, "num_outputs": 3}}, "num_classes": 3}},
        "agents": {"class_path": "Parties", "init_args": {"members": agents}},
        "chain": [{"class_path": "Mean"}],
        "test": parquet("test"),
        "run": {"num_rounds": 2},
        **changes,
    }  # fmt: skip
    Path(name).write_text(yaml.safe_dump(plain))
    return name


def parquet(name):
    return {"class_path": "Parquet", "init_args": {"path": f"{name}.parquet", "shapes": {"features": [4]}}}


def agent(name, **more):
    return {"name": name, "shard": parquet(name), "learner": {"class_path": "SGD", "init_args": {"lr": 0.1}}, **more}


def table(path, rows=30, label=None, value=None):
    """Write a table of features and labels 0 to 2; row 7 gets this label or this value."""
    features, labels = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32), np.arange(rows) % 3
    labels[7:8] = labels[7:8] if label is None else label
    features[7:8, 0] = features[7:8, 0] if value is None else value
    pq.write_table(pa.table({"features": pa.array(list(features), pa.list_(pa.float32())), "label": labels}), path)


def test_the_good_case_runs(capsys):
    """What the other tests spoil."""
    assert main(["run", write(), LOCAL]) == 0
    assert "2 agents agreed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tests": 1}, ["'tests'", "did you mean 'test'?"]),
        ({"run": {"num_round": 3}}, ["run: unknown key 'num_round'", "did you mean 'num_rounds'?", "patience"]),
        ({"chain": [{"class_path": "Meen"}]}, ["chain", "'Meen'", "did you mean 'Mean'?"]),
        ({"chain": [{"class_path": "ClipNorm", "init_args": {"norm": 1}}, {"class_path": "Mean"}]}, ["chain", "ClipNorm", "'norm'", "max_norm"]),
        ({"chain": []}, ["chain: 0 aggregators", "Mean()"]),
        ({"run": {"num_rounds": "many"}}, ["run.num_rounds", "'many'", "int"]),
        ({"run": {"num_rounds": 0}}, ["RunConfig.num_rounds=0", ">= 1"]),
        ({"run": {"seed": 1.5}}, ["run.seed", "1.5", "int"]),
        ({"run": {"target": "accuracy is high"}}, ["target='accuracy is high'", "METRIC >= NUMBER"]),
        ({"test": "test.parquet"}, ["test", "test.parquet"]),
        ({"scaling": {"agents_per_host": 0}}, ["ScalingConfig(agents_per_host=0)|ScalingConfig.agents_per_host=0", "must be >= 1"]),
    ],
)  # fmt: skip
def test_keys_and_types_in_a_file(refused, changes, words):
    message = refused("run", write(**changes), LOCAL)
    assert "ConfigError" in message
    for word in words:
        assert any(choice in message for choice in word.split("|")), message


def test_where_a_key_is_wrong_is_named(refused):
    """The file, and the path of the key."""
    learner = {"class_path": "SGD", "init_args": {"lr": 0.1, "momentun": 0.9}}
    members = [agent("north"), agent("south", learner=learner)]
    message = refused("run", write(agents={"class_path": "Parties", "init_args": {"members": members}}), LOCAL)
    for word in ("parties.yaml: agents", "SGD", "unknown key 'momentun'", "did you mean 'momentum'?"):
        assert word in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--run.num_round=3", ["on the command line", "run.num_round", "did you mean 'num_rounds'?"]),
        ("--rum.num_rounds=3", ["on the command line", "rum.num_rounds"]),
        ("--run.num_rounds=three", ["on the command line", "run.num_rounds", "'three'", "int"]),
        ("--agents.partition.alpha=-1", ["Dirichlet.alpha=-1", "must be > 0"]),
        ("--run.agents_per_round=9", ["agents_per_round=9", "only 8 agents"]),
    ],
)
def test_keys_and_types_on_the_command_line(refused, override, words):
    message = refused("run", LOCAL, override)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [("run: [", ["bad.yaml: not YAML"]), ("- 1", ["bad.yaml: must be a mapping", "task, agents, chain"]), ("", ["must be a mapping"])],
)  # fmt: skip
def test_files_that_are_no_experiment(refused, text, words):
    Path("bad.yaml").write_text(text)
    message = refused("run", "bad.yaml")
    for word in words:
        assert word in message


def test_a_missing_experiment(refused):
    assert "nowhere.yaml: there is no such experiment file; `raycollab run` without one" in refused("run", "nowhere.yaml")


def spoil(how):
    """Spoil the data of the party `south`; returns the words that the message must have."""
    write()
    if how == "missing":
        Path("south.parquet").unlink()
        return ["agent 'south'", "south.parquet", "no file there", "RAYCOLLAB_DATA"]
    if how == "empty":
        table("south.parquet", rows=0)
        return ["agent 'south'", "south.parquet", "0 rows", "at least one"]
    if how == "not Parquet":
        Path("south.parquet").write_text("a,b\n1,2\n")
        return ["agent 'south'", "south.parquet", "cannot be read as Parquet"]
    if how == "label":
        table("south.parquet", label=3)
        return ["agent 'south'", "south.parquet", "row 7 has label 3, outside 0..2", "num_classes"]
    table("south.parquet", value=np.nan)
    return ["agent 'south'", "south.parquet", "row 7", "NaN or infinity", "bad_rows='drop'"]


@pytest.mark.parametrize("how", ["missing", "empty", "not Parquet", "label", "NaN"])
def test_data_that_an_agent_cannot_learn_from(refused, how):
    words = spoil(how)
    message = refused("run", "parties.yaml", LOCAL, code=1)
    for word in ("DataError", "1 of 2 agents could not start", *words):
        assert word in message, message


def test_the_shared_set_is_checked_too(refused):
    write()
    Path("test.parquet").unlink()
    assert "the shared test set: test.parquet: no file there" in refused("run", "parties.yaml", LOCAL, code=1)


def test_every_agent_that_cannot_start_is_named(refused):
    words = spoil("missing")
    Path("north.parquet").unlink()
    message = refused("run", "parties.yaml", LOCAL, code=1)
    for word in ("2 of 2 agents could not start", "agent 'north'", "north.parquet", *words):
        assert word in message


def test_skip_goes_on_without_agents_that_cannot_start(capsys):
    spoil("missing")
    assert main(["run", "parties.yaml", LOCAL, "--failure.on_agent_failure=skip"]) == 0
    assert "1 agents agreed" in capsys.readouterr().out
    assert {row["agent"] for row in agents("runs/run-001")} == {"north"}


def test_rows_with_nan_can_be_dropped(capsys):
    spoil("NaN")
    assert main(["run", "parties.yaml", LOCAL, "--task.bad_rows=drop"]) == 0
    assert "29 examples (3 for validation), 1 rejected" in " ".join(capsys.readouterr().out.split())


def test_two_agents_with_one_name(refused):
    members = [agent("north"), agent("north")]
    message = refused("run", write(agents={"class_path": "Parties", "init_args": {"members": members}}), LOCAL)
    assert "the name 'north' is used more than once; give each its own" in message


def test_a_party_that_approves_another_task(refused):
    members = [agent("north"), agent("south", approves="0123456789abcdef")]
    file = write(agents={"class_path": "Parties", "init_args": {"members": members}})
    message = refused("run", file, LOCAL, code=1)
    assert "TaskMismatchError" in message
    assert "agent 'south' approves only task 0123456789abcdef and was offered" in message


def test_a_run_folder_that_exists_is_left_alone(capsys):
    assert main(["run", write(), LOCAL, "--run.name=mine"]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    capsys.readouterr()
    assert main(["run", "parties.yaml", LOCAL, "--run.name=mine"]) == 1
    message = capsys.readouterr().err
    assert re.search(r"run folder \S+/runs/mine exists already: continue it with `raycollab resume \S+/runs/mine`", message)
    assert "--run.name" in message
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before


def test_a_changed_experiment_is_not_resumed(capsys):
    assert main(["run", write(), LOCAL, "--run.name=mine"]) == 0
    before = sha256("runs/mine")
    capsys.readouterr()
    assert main(["resume", "runs/mine", LOCAL, "--run.seed=3", "--run.num_rounds=9"]) == 1
    message = capsys.readouterr().err
    assert "RunFolderError" in message
    assert "run.seed: 0 -> 3" in message
    assert "num_rounds: 2" not in message  # that one may change
    assert sha256("runs/mine") == before
    assert main(["resume", "runs/mine", LOCAL, "--run.num_rounds=3"]) == 0
    assert sha256("runs/mine") != before


@pytest.mark.parametrize(("made", "reason"), [(False, "does not exist"), (True, "has no experiment.yaml")])
def test_what_is_no_run_folder_is_not_resumed(refused, made, reason):
    if made:
        Path("thing").mkdir()
    message = refused("resume", "thing", code=1)
    assert f"is not a run folder: it {reason}; give the folder of one run, such as runs/run-001" in message


@pytest.mark.parametrize(("command", "code"), [(("evaluate", "thing"), 1), (("predict", "thing", "x.parquet", "--out", "y"), 1)])
def test_what_holds_no_model_cannot_be_used(refused, command, code):
    assert "holds no model" in refused(*command, code=code)
    assert not Path("y").exists()


def test_predict_on_a_file_that_does_not_fit(capsys):
    assert main(["run", write(), LOCAL]) == 0
    pq.write_table(pa.table({"x": [1.0]}), "x.parquet")
    Path("out.parquet").write_text("precious")
    assert main(["predict", "runs/run-001", "x.parquet", "--out", "out.parquet"]) == 1
    assert "x.parquet: no column 'features'; there are: x" in capsys.readouterr().err
    assert Path("out.parquet").read_text() == "precious"


@dataclass(frozen=True)
class Poisoned(rc.SGD):
    """Sends NaN in every second round."""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        bad = torch.full_like(params, torch.nan) if round.index % 2 == 0 else update.vectors["delta"]
        return replace(update, vectors={**update.vectors, "delta": bad}), state


def fit_with(learner, **settings):
    task = rc.ImageClassification(rc.models.MLP(num_features=64, num_outputs=10), num_classes=10)
    shards = rc.data.Digits("train").split(rc.IID(3))
    members = [rc.Agent(f"a{i}", s, learner if i == 1 else rc.SGD(lr=0.1), task) for i, s in enumerate(shards)]
    run, local = rc.RunConfig(num_rounds=3), rc.ScalingConfig(pool="local")
    return rc.fit(members, rc.chain(rc.Mean()), test=rc.data.Digits("test"), run=run, scaling=local, **settings)


def test_nan_in_an_update_costs_the_agent_its_round():
    """The run goes on without it; the row says why; the model stays finite."""
    result = fit_with(Poisoned(lr=0.1))
    bad = [row for row in result.agents if row["failure"]]
    assert [(row["agent"], row["round"]) for row in bad] == [("a1", 2)]
    assert "UpdateError: agent 'a1' round 2: 'delta' holds 9610 NaN or infinite of 9610 elements" in bad[0]["failure"]
    assert [row["agents"] for row in result.history] == [3, 2, 3]
    assert result.metrics["accuracy"] > 0.5


def test_a_loss_that_blows_up_costs_the_agent_its_round():
    result = fit_with(rc.SGD(lr=1e30))
    bad = [row for row in result.agents if row["failure"]]
    assert {row["agent"] for row in bad} == {"a1"}
    assert all("UpdateError" in row["failure"] for row in bad)
    assert result.metrics["accuracy"] > 0.5


def test_stop_and_quorum_end_the_run_and_keep_what_was_committed():
    with pytest.raises(rc.QuorumError, match="round 2: agent 'a1': .* on_agent_failure='stop'"):
        fit_with(Poisoned(lr=0.1), failure=rc.FailureConfig(on_agent_failure="stop"))
    with pytest.raises(rc.QuorumError, match="round 2: 2 of 3 agents answered .* min_agents=3 needs 3; first failure: agent 'a1'"):
        fit_with(Poisoned(lr=0.1), failure=rc.FailureConfig(min_agents=3))
    assert [len(Path(f"runs/run-00{i}/journal.jsonl").read_text().splitlines()) for i in (1, 2)] == [1, 1]


@pytest.mark.ray
def test_gpus_that_the_cluster_lacks(ray_cluster, refused):
    message = refused("run", "--scaling.gpus_per_host=1", code=1)
    assert "ResourceError" in message
    assert "ask for 7.104 CPU, 8 GPU; the cluster has 8 CPU, 0 GPU on 1 node(s). Lower ScalingConfig.gpus_per_host" in message


@pytest.mark.ray
def test_data_that_actors_cannot_open(ray_cluster, refused):
    """Two actors, of which one cannot open its data: the same message as in one process."""
    words = spoil("missing")
    message = refused("run", "parties.yaml", code=1)
    for word in ("DataError", "1 of 2 agents could not start", *words):
        assert word in message, message


@pytest.mark.ray
def test_a_cluster_with_a_token_and_a_process_without(head, tmp_path):
    """Ray says only that it cannot connect; the message has the recipe."""
    done = command_line("run", "--address", head.address, home=tmp_path, RAY_NUM_REDIS_GET_RETRIES="2")
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("raycollab: ") :]
    assert f"ClusterError: Ray cannot connect to the cluster at {head.address}" in message
    assert "export RAY_AUTH_MODE=token" in message
    assert "RAY_AUTH_TOKEN_PATH=~/.ray/auth_token" in message
    assert not list((tmp_path / "runs").iterdir())
