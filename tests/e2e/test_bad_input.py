"""Bad input is refused with what, where and a remedy, and nothing is lost: no half-made folder, no changed file."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from raycollab.cli import main

from .parties import LOCAL, agent, write
from .support import command_line, sha256

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_the_good_case_runs(capsys):
    """What the other tests spoil."""
    assert main(["run", write(), LOCAL]) == 0
    assert "2 agents agreed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tests": 1}, ["'tests'", "did you mean 'test'?"]),
        ({"run": {"num_round": 3}}, ["unknown key 'num_round' of run", "did you mean 'num_rounds'?", "patience"]),
        ({"chain": [{"class_path": "Meen"}]}, ["chain", "'Meen'", "did you mean 'Mean'?"]),
        (
            {"chain": [{"class_path": "ClipNorm", "init_args": {"norm": 1}}, {"class_path": "Mean"}]},
            ["chain", "ClipNorm", "'norm'", "max_norm"],
        ),
        ({"chain": []}, ["chain: 0 aggregators", "Mean()"]),
        ({"run": {"num_rounds": "many"}}, ["parties.yaml: run.num_rounds", "'many'", "expected an integer"]),
        ({"upload": {"class_path": "Quantize", "init_args": {"bits": 5}}}, ["Quantize.bits=5: must be 8 or 4"]),
        ({"upload": "Quantise"}, ["parties.yaml: upload: there is no Codec 'Quantise'; did you mean 'Quantize'?"]),
        ({"chain": [{"class_path": "Mean", "beta": 1}]}, ["parties.yaml: chain.0: ", "belong under init_args"]),
        ({"run": {"num_rounds": 0}}, ["RunConfig.num_rounds=0", ">= 1"]),
        ({"run": {"seed": 1.5}}, ["run.seed", "1.5", "int"]),
        ({"run": {"target": "accuracy is high"}}, ["target='accuracy is high'", "METRIC >= NUMBER"]),
        ({"test": "test.parquet"}, ["test", "test.parquet"]),
        ({"scaling": {"agents_per_host": 0}}, ["ScalingConfig.agents_per_host=0", "must be >= 1"]),
    ],
)
def test_keys_and_types_in_a_file(refused, changes, words):
    message = refused("run", write(**changes), LOCAL)
    assert "ConfigError" in message
    for word in words:
        assert word in message


def test_where_a_key_is_wrong_is_named(refused):
    """The file, and the path of the key."""
    learner = {"class_path": "SGD", "init_args": {"lr": 0.1, "momentun": 0.9}}
    members = [agent("north"), agent("south", learner=learner)]
    message = refused("run", write(agents={"class_path": "Parties", "init_args": {"members": members}}), LOCAL)
    for word in ("parties.yaml: unknown key 'momentun' of agents.members.1.learner (SGD)", "did you mean 'momentum'?"):
        assert word in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--run.num_round=3", ["on the command line: unknown key 'num_round' of run; did you mean 'num_rounds'?"]),
        ("--rum.num_rounds=3", ["on the command line: unknown key 'rum'; did you mean 'run'?"]),
        ("--run.num_rounds=three", ["on the command line: run.num_rounds: expected an integer, not 'three'"]),
        ("--chain.1.f=2", ["on the command line: unknown key 'f' of chain.1 (Mean)", "weights, by_agent"]),
        ("--chain.5.f=2", ["on the command line: chain.5: there is no such element; chain ends at chain.2"]),
        ("--chain.0.max_norm=-1", ["ClipNorm.max_norm=-1", "must be > 0"]),
        ("--upload={class_path: Quantize, init_args: {bits: 5}}", ["Quantize.bits=5: must be 8 or 4"]),
        ("--select=Quantize", ["select: Quantize is a Codec, which belongs in upload or broadcast"]),
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
    [
        ("run: [", ["bad.yaml: not YAML"]),
        ("- 1", ["bad.yaml: must be a mapping", "task, agents, chain"]),
        ("", ["bad.yaml: must be a mapping"]),
    ],
)
def test_files_that_are_no_experiment(refused, text, words):
    Path("bad.yaml").write_text(text)
    message = refused("run", "bad.yaml")
    for word in words:
        assert word in message


def test_an_experiment_that_is_not_utf_8(refused):
    Path("bad.yaml").write_bytes("run: {name: gr\u00fcn}".encode("latin-1"))
    assert "bad.yaml: not UTF-8 text" in refused("run", "bad.yaml")


@pytest.mark.parametrize("setting", ["gpus_per_host", "gpus_for_driver"])
def test_a_gpu_that_this_machine_lacks(refused, setting, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refused("run", LOCAL, f"--scaling.{setting}=1", code=1)
    assert f"ResourceError: ScalingConfig.{setting}=1 with pool='local' asks for a GPU of this machine" in message


def test_more_gpus_than_one_for_a_host(refused):
    assert "gpus_per_host=2" in (message := refused("run", "--scaling.gpus_per_host=2"))
    assert "a model over several is not supported" in message


def test_a_relative_folder_inside_a_rays_job(refused, tmp_path, monkeypatch):
    """Ray deletes a job's working folder with its cache, and the run would be gone with it."""
    folder = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    message = refused("run", LOCAL)
    assert "RunConfig.dir='runs' is inside this Ray job's working folder" in message
    assert "--run.dir=/shared/runs" in message


def test_a_missing_experiment(refused):
    assert "nowhere.yaml: there is no such experiment file; `raycollab run` without one" in refused(
        "run", "nowhere.yaml"
    )


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


@pytest.mark.parametrize("command", ["run", "resume", "evaluate"])
def test_a_rule_whose_file_is_not_found(command, capsys):
    """For a run that was started where it is."""
    assert main(["run", write(), LOCAL]) == 0
    recorded = Path("runs/run-001/experiment.yaml")
    for file in (Path("parties.yaml"), recorded):
        file.write_text(file.read_text().replace("class_path: Mean", "class_path: myrules.Midrange"))
    recorded.write_text(recorded.read_text().replace("raycollab.aggregation.Mean", "myrules.Midrange"))
    capsys.readouterr()
    assert main([command, "parties.yaml" if command == "run" else "runs/run-001"]) == 2
    message = capsys.readouterr().err
    assert "chain.0: myrules.Midrange cannot be imported: No module named 'myrules'" in message
    assert "run it where myrules.py is found, e.g. `PYTHONPATH=. raycollab run ...`" in message


def test_a_run_folder_that_exists_is_left_alone(capsys):
    assert main(["run", write(), LOCAL, "--run.name=mine"]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    capsys.readouterr()
    assert main(["run", "parties.yaml", LOCAL, "--run.name=mine"]) == 1
    message = capsys.readouterr().err
    assert re.search(
        r"run folder \S+/runs/mine exists already: continue it with `raycollab resume \S+/runs/mine`", message
    )
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
    longer = sha256("runs/mine")
    assert yaml.safe_load(Path("runs/mine/experiment.yaml").read_text())["run"]["num_rounds"] == 3
    assert main(["resume", "runs/mine", LOCAL]) == 0  # as it went on, not as it began
    assert sha256("runs/mine") == longer


@pytest.mark.parametrize(("made", "reason"), [(False, "does not exist"), (True, "has no experiment.yaml")])
def test_what_is_no_run_folder_is_not_resumed(refused, made, reason):
    if made:
        Path("thing").mkdir()
    message = refused("resume", "thing", code=1)
    assert f"is not a run folder: it {reason}; give the folder of one run, such as runs/run-001" in message


@pytest.mark.parametrize(
    ("command", "code"), [(("evaluate", "thing"), 1), (("predict", "thing", "x.parquet", "--out", "y"), 1)]
)
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


def test_predict_on_rows_that_mean_nothing(capsys):
    assert main(["run", write(), LOCAL]) == 0
    pq.write_table(pa.table({"features": [[0.0] * 4, [0.0, float("nan"), 0.0, 0.0]]}), "x.parquet")
    assert main(["predict", "runs/run-001", "x.parquet", "--out", "out.parquet"]) == 1
    assert "x.parquet: row 1 of column 'features' holds NaN or infinity (1 such rows)" in capsys.readouterr().err
    assert not Path("out.parquet").exists()


@pytest.mark.ray
def test_gpus_that_the_cluster_lacks(ray_cluster, refused):
    message = refused("run", "--scaling.gpus_per_host=1", code=1)
    assert "ResourceError" in message
    assert (
        "ask for 7.104 CPU, 8 GPU; the cluster has 8 CPU, 0 GPU on 1 node(s). Lower ScalingConfig.gpus_per_host"
        in message
    )


@pytest.mark.ray
def test_a_cluster_with_a_token_and_a_process_without(head, tmp_path):
    """What the head says, and the recipe."""
    done = command_line("run", "--address", head.address, home=tmp_path, RAY_NUM_REDIS_GET_RETRIES="2")
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("raycollab: ") :]
    assert f"ClusterError: Ray cluster at {head.address}: InvalidAuthToken: " in message
    assert "export RAY_AUTH_MODE=token" in message
    assert "RAY_AUTH_TOKEN_PATH=~/.ray/auth_token" in message
    assert not list((tmp_path / "runs").iterdir())
