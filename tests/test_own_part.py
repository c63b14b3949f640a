"""Parties with tasks of their own over one trunk: their models, their test sets, and what stages hand on."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import raycollab as rc
from raycollab.cli import main
from raycollab.errors import ConfigError, DataError, ModelError, RunFolderError, TaskMismatchError
from raycollab.own_part import OwnPart, handed_on
from raycollab.runtime.session import build_model

TRUNK = rc.Exchange(include=("trunk.*",))
LOCAL = rc.ScalingConfig(pool="local")


def task(num_classes, outputs=None):
    head = rc.models.MLP(4, outputs or num_classes, ())
    return rc.Classification(rc.models.Headed(rc.models.MLP(3, 4, ()), head), num_classes)


def table(folder, num_classes, part):
    """Features that tell the class, as a Parquet file."""
    generator = torch.Generator().manual_seed(num_classes + 10 * (part == "test"))
    labels = torch.arange(40) % num_classes
    features = torch.randn(40, 3, generator=generator) + labels[:, None]
    path = folder / f"{part}-{num_classes}.parquet"
    pq.write_table(pa.table({"features": features.tolist(), "label": labels.numpy()}), path)
    return rc.data.Parquet(str(path))


def party(folder, num_classes, own=True, **settings):
    test = table(folder, num_classes, "test") if own else None
    settings = {"task": task(num_classes), "test": test, **settings}
    return rc.Agent(f"of-{num_classes}", table(folder, num_classes, "train"), rc.SGD(lr=0.1, epochs=3), **settings)


def fitted(folder, *agents, name="first", exchange=TRUNK, num_rounds=2, **run):
    config = rc.RunConfig(dir=str(folder), name=name, num_rounds=num_rounds, **run)
    test = table(folder, 2, "shared")
    common = {"test": test, "task": task(2), "exchange": exchange, "run": config, "scaling": LOCAL}
    return rc.fit(agents, rc.Mean(), **common)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("two-tasks")


@pytest.fixture(scope="module")
def first(place):
    return fitted(place, party(place, 2), party(place, 5))


@pytest.mark.parametrize("num_classes", [2, 5])
def test_a_partys_model_is_the_common_trunk_and_its_own_head(first, place, num_classes):
    model = rc.load(first.path, agent=f"of-{num_classes}")
    assert model.task == task(num_classes)
    common, kept = rc.load(first.path).module, OwnPart.read(first.path, f"of-{num_classes}").private
    assert torch.equal(model.module.trunk[1].weight, common.trunk[1].weight)
    assert kept["head.1.weight"].shape == (num_classes, 4)
    assert torch.equal(model.module.head[1].weight, kept["head.1.weight"])
    assert not torch.equal(model.module.head[1].weight, build_model(task(num_classes), TRUNK, 0).module.head[1].weight)
    assert len({p.untyped_storage().data_ptr() for p in model.module.parameters()}) == 4  # no views of one buffer


@pytest.mark.parametrize("num_classes", [2, 5])
def test_it_scores_what_the_agent_scored_on_its_own_test_set(first, place, num_classes):
    row = next(row for row in reversed(first.agents) if row["agent"] == f"of-{num_classes}")
    model = rc.load(first.path, agent=f"of-{num_classes}")
    scores = model.evaluate(table(place, num_classes, "test")).compute()
    assert scores["accuracy"] == row["test_accuracy"]
    assert scores["loss"] == pytest.approx(row["test_loss"], rel=1e-6)
    assert {"val_accuracy", "val_loss"} <= set(row)
    assert pq.read_table(f"{first.path}/agents.parquet")["test_loss"].null_count == 0


def test_the_report_has_a_line_on_their_test_sets(first):
    assert "agents' own test accuracy  " in first.report()
    assert "of 2 with a test set" in first.report()


def test_the_command_line_takes_an_agent(first, place, tmp_path, capsys):
    data = str(place / "test-5.parquet")
    assert main(["evaluate", first.path, "--agent", "of-5"]) == 0
    by_itself = capsys.readouterr().out
    assert main(["evaluate", first.path, "--agent", "of-5", "--data", data]) == 0
    assert capsys.readouterr().out == by_itself
    assert main(["predict", first.path, data, "--agent", "of-5", "--out", str(tmp_path / "p.parquet")]) == 0
    assert set(pq.read_table(tmp_path / "p.parquet")["prediction"].to_pylist()) - {0, 1}
    assert main(["export", first.path, "--agent", "of-5", "--out", str(tmp_path / "out")]) == 0
    exported = rc.load(str(tmp_path / "out"))
    assert exported.task == task(5)
    own = rc.load(first.path, agent="of-5")
    assert torch.equal(exported.module.head[1].weight, own.module.head[1].weight)
    assert exported.reader == own.reader


def test_scores_that_nobody_trains_for_are_named(first, place):
    notes = first.history[0]["notes"]
    assert "not exchanged: head.1.weight, head.1.bias: the scores on the shared test set" in notes
    assert "run.target" not in notes
    watched = fitted(place, party(place, 2), name="watched", num_rounds=1, target="accuracy >= 0.99", patience=3)
    assert "nobody trains, and run.target and run.patience go by them" in watched.history[0]["notes"]
    shared = fitted(place, party(place, 2), name="shared", num_rounds=1, exchange=rc.Exchange())
    assert shared.history[0]["notes"] == ""


def test_equal_tasks_have_heads_of_their_own(place):
    twins = [replace(party(place, 5), name=name, shard=table(place, 5, part)) for name, part in TWINS.items()]
    twin_run = fitted(place, *twins, name="twins")
    one, other = (rc.load(twin_run.path, agent=name).module.head[1].weight for name in TWINS)
    assert not torch.equal(one, other)


TWINS = {"one": "train", "other": "more"}


def test_what_cannot_be_loaded(first, place):
    with pytest.raises(ConfigError, match=r"there is no agent 'of-3'; its agents: of-2, of-5"):
        rc.load(first.path, agent="of-3")
    with pytest.raises(ModelError, match=r"the own part of agent 'of-5' has no head\.1\.weight, head\.1\.bias of the"):
        rc.load(first.path, agent="of-5", task=task(3))
    wide = replace(task(5), net=rc.models.Headed(rc.models.MLP(3, 6, ()), rc.models.MLP(6, 5, ())))
    with pytest.raises(ModelError, match=r"the common part of agent 'of-5' has no trunk\.1\.weight, trunk\.1\.bias"):
        rc.load(first.path, agent="of-5", task=wide)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        rc.load(f"{first.path}/model", agent="of-5")


def test_without_a_test_set_of_its_own_it_needs_rows(place, capsys):
    path = fitted(place, party(place, 2, own=False), party(place, 5, own=False), name="untested").path
    assert main(["evaluate", path, "--agent", "of-5"]) == 2
    assert "agent 'of-5' has a task of its own and no test set that a file names" in capsys.readouterr().err
    assert rc.load(path, agent="of-5").reader.path.endswith("train-5.parquet")  # files are read as its shard was


def test_a_task_that_no_file_can_name_is_given(place):
    own = replace(task(5), net=Local(3, 4, ()))
    path = fitted(place, party(place, 2), party(place, 5, task=own), name="local").path
    with pytest.raises(ConfigError, match=r"the task of agent 'of-5' has no plain form, so the file cannot name it"):
        rc.load(path, agent="of-5")
    assert rc.load(path, agent="of-5", task=own).module.head[1].weight.shape == (5, 4)


def _local():
    class Inside(rc.models.MLP):
        """A recipe that no other process can import."""

        def build(self):
            return task(5).model()

    return Inside


Local = _local()


def test_the_next_run_begins_from_the_agents_own_parts(first, place):
    kept = OwnPart.read(first.path, "of-5").private
    model = build_model(task(5), TRUNK, 0)
    handed = handed_on(model, first.path, "of-5")
    assert all(torch.equal(handed[name], kept[name]) for name in kept)
    still = replace(party(place, 5), learner=rc.SGD(lr=1e-30, steps=1))
    second = fitted(place, still, party(place, 2), name="second", num_rounds=1, start=first.path)
    assert torch.equal(OwnPart.read(second.path, "of-5").private["head.1.weight"], kept["head.1.weight"])
    row = next(row for row in first.agents if row["agent"] == "of-5" and row["round"] == 2)
    assert row["test_accuracy"] > 0.2  # of a trained head, kept though it learns nothing any more


def test_parts_of_another_shape_or_name_begin_anew(first):
    other = build_model(task(3), TRUNK, 0)
    assert handed_on(other, first.path, "of-5") is None
    assert handed_on(build_model(task(5), TRUNK, 0), first.path, "nobody") is None
    assert handed_on(build_model(task(5), TRUNK, 0), f"{first.path}/model", "of-5") is None
    assert handed_on(build_model(task(5), rc.Exchange(), 0), first.path, "of-5") is None  # nothing is private


def test_only_equal_shapes_are_handed_on(first):
    """A trunk of another width: the bias of the head fits, its weight does not."""
    wide = replace(task(5), net=rc.models.Headed(rc.models.MLP(3, 6, ()), rc.models.MLP(6, 5, ())))
    model, kept = build_model(wide, TRUNK, 0), OwnPart.read(first.path, "of-5").private
    initial = model.private()
    handed = handed_on(model, first.path, "of-5")
    assert torch.equal(handed["head.1.bias"], kept["head.1.bias"])
    assert torch.equal(handed["head.1.weight"], initial["head.1.weight"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"task": task(5, outputs=4)}, DataError, r"of-5: the model's output has shape \[2, 4\]; num_classes=5 needs"),
        ({"task": task(3)}, DataError, r"of-5: agent 'of-5': .*row 3 has label 3, outside 0\.\.2"),
        (
            {"test": rc.data.Parquet("nowhere.parquet")},
            DataError,
            r"agent 'of-5': its test set: nowhere\.parquet",
        ),
        (
            {"task": rc.Classification(rc.models.MLP(3, 5, ()), 5)},
            DataError,
            r"of-5: Exchange: nothing is left to exchange; there are: 1\.weight, 1\.bias",
        ),
    ],
    ids=["head", "labels", "test", "no trunk"],
)
def test_what_does_not_fit_is_said_before_the_first_round(place, settings, error, message):
    with pytest.raises(error, match=message):
        fitted(place, party(place, 2), party(place, 5, **settings), name="refused")


def test_a_head_that_is_exchanged_by_mistake_is_refused_with_the_remedy(place):
    with pytest.raises(TaskMismatchError, match=r"no exchanged head.* of the approved shape; keep a head"):
        fitted(place, party(place, 2), party(place, 5), name="refused", exchange=rc.Exchange())


def test_a_test_set_that_is_no_source_is_refused(place):
    with pytest.raises(ConfigError, match=r"Agent\('of-2'\)\.test='x\.parquet': must be a Source, or None"):
        party(place, 2, test="x.parquet")
