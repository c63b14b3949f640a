"""`raycollab evaluate` beside what each agent learns alone, computed once."""

import os

import pytest

import raycollab as rc
from raycollab.cli import main
from raycollab.comparing import run_alone, side_by_side

LOCAL = rc.ScalingConfig(pool="local")
TASK = rc.ImageClassification(rc.models.MLP(64, 10, hidden=(8,)), num_classes=10)


@pytest.fixture
def first(tmp_path):
    """A run whose agents have models of their own."""
    learner = rc.Ditto(rc.SGD(lr=0.1, steps=3, batch_size=8))
    agents = rc.Split(rc.data.Digits("train"), rc.Dirichlet(0.3, num_parts=4), (learner,), val_fraction=0.25)
    run = rc.RunConfig(num_rounds=2, dir=str(tmp_path), name="first")
    return rc.run_experiment(rc.Experiment(TASK, agents, (rc.Mean(),), rc.data.Digits("test"), run=run, scaling=LOCAL))


def test_local_only_is_computed_once_and_stands_beside(first, capsys):
    assert main(["evaluate", first.path]) == 0
    before = capsys.readouterr().out
    assert "worst personal" in before
    assert f"alone: not computed yet; next: raycollab evaluate {first.path} --local-only" in before
    assert main(["evaluate", first.path, "--local-only"]) == 0
    after = capsys.readouterr().out
    assert "worst alone" in after
    assert "of 4 agents are better off than alone" in after
    written = os.stat(f"{first.path}/local-only/result.json").st_mtime_ns
    assert main(["evaluate", first.path, "--local-only"]) == 0
    assert capsys.readouterr().out == after
    assert os.stat(f"{first.path}/local-only/result.json").st_mtime_ns == written


def test_it_is_of_all_agents(first, capsys):
    for more in (["--agent", "party-1"], ["--data", "x.parquet"]):
        assert main(["evaluate", first.path, "--local-only", *more]) == 2
        assert "compares all agents of a run; leave --agent and --data away" in capsys.readouterr().err


def test_a_comparison_that_was_interrupted_goes_on(first):
    whole = run_alone(first.path)
    os.remove(f"{whole}/result.json")
    assert run_alone(first.path) == whole
    assert rc.load(whole, agent="party-1").predict({"image": rc.data.Digits("test").read()["image"]})


def test_only_a_run_folder_has_agents(first):
    assert side_by_side(f"{first.path}/model", ("accuracy", True)) == ""
    with pytest.raises(rc.RunFolderError, match=r"is not a run folder: it has no experiment\.yaml"):
        run_alone(f"{first.path}/model")


def test_an_experiment_that_no_file_can_name_is_compared_in_python(tmp_path):
    shard = rc.data.Arrays(rc.data.Digits("train").read(), "rows")
    result = rc.fit(
        [rc.Agent("party", shard, rc.SGD(lr=0.1, steps=1))],
        rc.Mean(),
        task=TASK,
        test=rc.data.Digits("test"),
        run=rc.RunConfig(num_rounds=1, dir=str(tmp_path)),
        scaling=LOCAL,
    )
    with pytest.raises(rc.ConfigError, match=r"or compare it there, by rc\.run_experiment\(rc\.local_only\(experiment"):
        run_alone(result.path)
