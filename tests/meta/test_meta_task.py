"""A run that learns to learn: scored after adaptation, saved with its learner, adapted from Python and the shell."""

import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.cli import main
from raycollab.errors import ConfigError
from raycollab.meta.evaluation import drawn
from raycollab.models import MLP
from raycollab.params import Exchange, FlatModel

TASK = rc.ImageClassification(MLP(64, 3, hidden=(16,)), 3)
LEARNER = rc.MAML(lr=0.3, steps=2, tasks=rc.FewShot(3, 2, 4, classes=(0, 1, 2, 3, 4, 5, 6)), vectorised=True)
JUDGE = rc.MetaTask(TASK, LEARNER, rc.FewShot(3, 2, 4, classes=(7, 8, 9)), episodes=20, seed=6)


def run(folder, task=JUDGE, learner=LEARNER, rounds=12, **settings):
    shards = rc.data.Digits("train").split(rc.IID(3))
    return rc.fit(
        [rc.Agent(f"a{i}", shard, learner, val_fraction=0.0) for i, shard in enumerate(shards)],
        rc.chain(rc.Mean(), rc.ServerOptimizer("Adam", {"lr": 0.01})),
        test=rc.data.Digits("test"),
        task=task,
        run=rc.RunConfig(num_rounds=rounds, dir=str(folder), seed=3, **settings),
        scaling=rc.ScalingConfig(pool="local"),
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"))


def test_rounds_are_scored_on_classes_that_nobody_trained_with(result):
    """Accuracy over episodes with its interval, better than before; chance is a third."""
    scores = [row["accuracy"] for row in result.history]
    assert scores[-1] > max(0.6, scores[0])
    assert 0 < result.metrics["accuracy_half"] < 0.2
    assert set(result.metrics) == {"loss", "loss_half", "accuracy", "accuracy_half"}
    assert "accuracy" in result.report()


def test_scores_are_those_of_the_episodes(result):
    """Worked out with the model that was saved, episode by episode."""
    model, shard = result.model(), rc.Shard(rc.data.Digits("test").read(), val_fraction=0.0, seed=0)
    found = []
    for support, query in drawn(JUDGE.tasks, shard, 20, JUDGE.seed):
        predicted = model.adapt(support).predict({"image": query["image"]})["prediction"]
        found.append((predicted == query["label"]).double().mean())
    assert result.metrics["accuracy"] == pytest.approx(torch.stack(found).mean().item())


def test_few_shot_of_a_meta_task_is_what_it_reports(result):
    """The same episodes of the same rows: rc.meta.few_shot looks at the task inside."""
    shard = rc.Shard(rc.data.Digits("test").read(), val_fraction=0.0, seed=0)
    learner = replace(LEARNER, tasks=JUDGE.tasks)
    found = rc.meta.few_shot(result.model(), learner, shard, episodes=20, seed=JUDGE.seed, metric="accuracy")["after"]
    assert found.mean == pytest.approx(result.metrics["accuracy"])
    assert found.half == pytest.approx(result.metrics["accuracy_half"], rel=1e-4)


def test_a_run_is_repeated_to_the_bit(result, tmp_path):
    again = run(tmp_path)
    pairs = zip(result.model().module.parameters(), again.model().module.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def few(digits=(7, 8, 9), each=5):
    """A new party's examples: its classes are called 0, 1, 2."""
    columns = rc.data.Digits("test").read()
    rows = [(columns["label"] == digit).nonzero()[:each, 0] for digit in digits]
    names = torch.arange(len(digits)).repeat_interleave(each)
    return {"image": columns["image"][torch.cat(rows)], "label": names}


def test_result_adapts(result):
    """To five examples a class; the model itself stays; the adapted one is of the task itself."""
    support = few()
    before, adapted = result.model(), result.adapt(support)
    assert adapted.task == TASK
    hits = [(m.predict(support)["prediction"] == support["label"]).float().mean() for m in (before, adapted)]
    assert hits[1] > hits[0] + 0.4
    assert torch.equal(result.adapt(rc.data.Arrays(support)).module[1].weight, adapted.module[1].weight)


def test_adapts_in_a_fresh_process(result, tmp_path):
    """The command, then the prediction of what it saved, equal to Python's to the bit."""
    support = few()
    table = {"image": [image.reshape(-1).tolist() for image in support["image"]], "label": support["label"].tolist()}
    pq.write_table(pa.table(table), tmp_path / "few.parquet")
    call = [sys.executable, "-m", "raycollab", "adapt", result.path, f"{tmp_path}/few.parquet", "--out"]
    done = subprocess.run([*call, f"{tmp_path}/model"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"adapted to 15 examples; next: raycollab predict {tmp_path}/model DATA.parquet")
    loaded = rc.load(f"{tmp_path}/model")
    expected = result.adapt(support)
    for name, values in expected.predict(support).items():
        assert torch.equal(loaded.predict(support)[name], values)


def test_curves_from_the_command_line(result, tmp_path, capsys):
    """Of the test set's episodes, as the run reports them for its own number of steps; printed, and drawn."""
    picture = tmp_path / "curves.png"
    call = ["curve", result.path, "--steps", "0", "2", "--shots", "1", "--episodes", "20", "--out", str(picture)]
    assert main(call) == 0
    *lines, last = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[1:]] == [["steps", "0"], ["steps", "2"], ["shots", "1"]]
    assert last == ["drawn", "into", str(picture)]
    assert float(lines[2][2]) == pytest.approx(result.metrics["accuracy"], abs=5e-4)
    assert float(lines[1][2]) < float(lines[2][2])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_curves_of_a_new_partys_file(result, tmp_path, capsys):
    """Its rows are drawn from, and are too few for some points."""
    support = few(each=6)
    table = {"image": [image.reshape(-1).tolist() for image in support["image"]]}
    pq.write_table(
        pa.table({**table, "label": [7 + name for name in support["label"].tolist()]}), tmp_path / "few.parquet"
    )
    call = ["curve", result.path, "--data", f"{tmp_path}/few.parquet", "--episodes", "2", "--shots"]
    assert main([*call, "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("shots      2  ")
    assert main([*call, "3"]) == 1
    assert "FewShot(shots=3, queries=4) takes 7 examples a class and class 7 has 6" in capsys.readouterr().err
    assert main(["curve", result.path]) == 2
    assert "curve: over what? Give --steps, --shots or --support and their values" in capsys.readouterr().err


def test_any_trained_model_adapts_with_a_learner(tmp_path, capsys):
    """Of federated averaging, too; the command takes the learner of the run's agents, and refuses a plain one."""
    plain = run(tmp_path, TASK_OF_TEN, rc.SGD(lr=0.1), rounds=1)
    support = few((0, 1, 2))
    model = plain.model()
    adapted = model.adapt(support, rc.MAML(lr=0.1, steps=10))
    assert TASK_OF_TEN.loss(adapted.module, support) < TASK_OF_TEN.loss(model.module, support)
    with pytest.raises(ConfigError, match=r"adapt: nothing says how; give learner=, such as rc\.MAML"):
        plain.adapt(support)
    with pytest.raises(ConfigError, match=r"adapt: SGD only trains; give learner="):
        plain.adapt(support, rc.SGD(lr=0.1))
    pq.write_table(pa.table({"image": [[0.0] * 64], "label": [0]}), tmp_path / "few.parquet")
    assert main(["adapt", plain.path, f"{tmp_path}/few.parquet", "--out", f"{tmp_path}/out"]) == 2
    assert "adapt: SGD only trains; give learner=" in capsys.readouterr().err
    assert main(["curve", plain.path, "--steps", "1"]) == 2
    assert "curve: SGD does not adapt; the run must be of a meta-learner" in capsys.readouterr().err


TASK_OF_TEN = rc.ImageClassification(MLP(64, 10, hidden=(16,)), 10)


def test_a_support_that_does_not_fit(result):
    support = few()
    with pytest.raises(rc.DataError, match=r"support: row 0 has label 7, outside 0\.\.2"):
        result.adapt({**support, "label": support["label"] + 7})


def test_too_few_classes_or_rows_on_the_shared_set(tmp_path):
    with pytest.raises(rc.DataError, match=r"FewShot\(ways=11\) takes 11 classes and the shard has 10 of them"):
        run(tmp_path, rc.MetaTask(TASK, LEARNER, rc.FewShot(11)), rounds=1)


def test_an_agent_with_too_few_classes_ends_the_run_by_name(tmp_path):
    learner = rc.MAML(lr=0.3, tasks=rc.FewShot(3, 2, 4, classes=(7, 8, 19)))
    with pytest.raises(rc.QuorumError, match=r"takes 3 classes and the shard has 2 of them: lower ways, or give"):
        run(tmp_path, learner=learner, rounds=1)


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"MetaTask\.learner=SGD.*: must be a MetaLearner"):
        rc.MetaTask(TASK, rc.SGD(lr=0.1))
    with pytest.raises(ConfigError, match=r"MetaTask\.episodes=1: must be >= 2: one has no interval"):
        rc.MetaTask(TASK, LEARNER, episodes=1)


def test_parties_approve_what_is_judged():
    """The fingerprint names the loss after adaptation; a plain task is another one."""
    spec = FlatModel(JUDGE.model(), Exchange()).spec
    print_of = JUDGE.fingerprint(spec)
    assert print_of.loss == "cross_entropy after MAML"
    assert print_of.digest() != TASK.fingerprint(spec).digest()
