import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from raycollab.data import WEIGHT
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import MLP, Module
from raycollab.params import Exchange, FlatModel
from raycollab.task import Task
from raycollab.tasks import Classification, ImageClassification


def passing(**settings):
    """A task whose module hands its inputs through: they are the logits."""
    return Classification(Module(nn.Identity), settings.pop("num_classes", 2), **settings)


def columns(n=4, **changes):
    return {"features": torch.zeros(n, 3), "label": torch.arange(n) % 2, **changes}


def statistics(task, logits, labels):
    return task.statistics(nn.Identity(), {"features": torch.tensor(logits), "label": torch.tensor(labels)}).compute()


def test_loss_is_cross_entropy():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    expected = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    batch = {"features": logits, "label": labels}
    assert passing().loss(nn.Identity(), batch).item() == pytest.approx(expected)
    smooth = functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert torch.equal(passing(label_smoothing=0.2).loss(nn.Identity(), batch), smooth)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_whole_labels_will_do(dtype):
    batch = {"features": torch.eye(2), "label": torch.tensor([0, 1])}
    other = {**batch, "label": batch["label"].to(dtype)}
    task = passing(label_smoothing=0.1)
    assert task.check(other, "here").all()
    assert torch.equal(task.loss(nn.Identity(), other), task.loss(nn.Identity(), batch))
    assert task.statistics(nn.Identity(), other) == task.statistics(nn.Identity(), batch)


def test_metrics_by_hand():
    """Predictions 0 1 1 0 for labels 0 1 0 1; margins -2 1 3 -1: two of the four pairs are in order."""
    logits = [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]]
    found = statistics(passing(), logits, [0, 1, 0, 1])
    assert found["accuracy"] == 0.5
    assert found["auc"] == 0.5  # 1 > -2 and -1 > -2, but 1 < 3 and -1 < 3
    losses = [math.log(1 + math.exp(m)) for m in (-2, -1, 3, 1)]
    assert found["loss"] == pytest.approx(sum(losses) / 4)


def test_calibration_by_hand():
    """Sure of 3/4 twice, right once: 1/4 off. A net that diverged has no confidence, and its loss says so."""
    found = statistics(passing(), [[math.log(3), 0.0], [0.0, math.log(3)]], [0, 0])
    assert found["ece"] == pytest.approx(0.25, abs=1e-7)
    diverged = statistics(passing(), [[math.nan, 0.0]], [0])
    assert math.isnan(diverged["loss"])
    assert 0 <= diverged["ece"] <= 1


def test_auc_is_for_two_classes():
    assert "auc" not in statistics(passing(num_classes=3), [[1.0, 2.0, 3.0]], [2])


def test_a_multiclass_loss_ignores_smoothing_in_evaluation():
    plain, smooth = (statistics(passing(label_smoothing=s), [[1.0, 0.0]], [0]) for s in (0.0, 0.5))
    assert plain["loss"] == smooth["loss"]


@pytest.mark.parametrize("logits", [torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 2, 1)])
def test_wrong_output_width(logits):
    with pytest.raises(ModelError, match=r"output has shape \[2.*; num_classes=2 needs \[2, 2\]"):
        passing().statistics(nn.Identity(), {"features": logits, "label": torch.tensor([0, 1])})


def test_predict():
    batch = {"features": torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])}
    found = passing().predict(nn.Identity(), batch)
    assert found["prediction"].tolist() == [1, 0]
    assert found["probability"].tolist() == pytest.approx([0.75, 0.8])


def test_good_rows_pass():
    assert passing().check(columns(), "here").tolist() == [True] * 4
    whole = columns(features=torch.zeros(4, 3, dtype=torch.uint8))
    assert passing().check(whole, "here").tolist() == [True] * 4
    assert passing().check(columns(features=torch.zeros(4)), "here").tolist() == [True] * 4
    assert passing().check(columns(n=0), "here").tolist() == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([0, 2, 2, 1]),
            r"row 1 has label 2, outside 0..1 \(2 such rows\); correct the labels or set num_c",
        ),
        (torch.tensor([0, 1, 0, -1]), r"row 3 has label -1, outside 0..1 \(1 such rows\)"),
        (
            torch.tensor([0.0, 1.0, 0.0, 1.0]),
            r"'label' holds torch.float32 of shape \[4\]; labels are one whole",
        ),
        (torch.tensor([0.0, math.nan, 0.0, 1.0]), "'label' holds torch.float32"),
        (torch.zeros(4, 1, dtype=torch.int64), r"'label' holds torch.int64 of shape \[4, 1\]"),
    ],
)
def test_labels_are_checked(labels, message):
    with pytest.raises(DataError, match=message) as caught:
        passing().check(columns(label=labels), "north.parquet")
    assert str(caught.value).startswith("north.parquet: ")


def test_rows_of_unknown_labels_can_be_dropped():
    """With those of bad inputs; labels that are no whole numbers at all stay an error."""
    held = columns(label=torch.tensor([0, 2, -1, 1]))
    assert passing(bad_rows="drop").check(held, "here").tolist() == [True, False, False, True]
    held["features"][0, 1] = math.nan
    assert passing(bad_rows="drop").check(held, "here").tolist() == [False, False, False, True]
    with pytest.raises(DataError, match=r"row 1 has label 2, .*, or leave such rows out with bad_rows='drop'"):
        passing().check(columns(label=torch.tensor([0, 2, -1, 1])), "here")
    with pytest.raises(DataError, match=r"'label' holds torch.float32"):
        passing(bad_rows="drop").check(columns(label=torch.zeros(4)), "here")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_rows_are_refused_or_dropped(bad):
    features = torch.zeros(4, 2, 2)
    features[2, 1, 0] = bad
    held = columns(features=features)
    assert passing(bad_rows="drop").check(held, "here").tolist() == [True, True, False, True]
    with pytest.raises(
        DataError, match=r"here: row 2 of column 'features' holds NaN or infinity \(1 such rows\).*'drop'"
    ):
        passing().check(held, "here")


@pytest.mark.parametrize("missing", ["features", "label"])
def test_a_missing_column_is_named(missing):
    held = columns()
    del held[missing]
    with pytest.raises(DataError, match=f"here: the task needs column '{missing}'; there are: {next(iter(held))}"):
        passing().check(held, "here")


def test_coverage_counts_labels():
    assert passing(num_classes=5).coverage(columns()) == "2 of 5 labels"


def test_fingerprint_names_what_is_approved():
    spec = FlatModel(MLP(3, 2, ()).build(), Exchange()).spec
    print_of = Classification(MLP(3, 2, ()), 2).fingerprint(spec)
    assert print_of.exchanged == (("1.weight", (2, 3)), ("1.bias", (2,)))
    assert print_of.loss == "cross_entropy"
    assert "auc" in print_of.metrics
    assert "0.1" in Classification(MLP(3, 2, ()), 2, label_smoothing=0.1).fingerprint(spec).loss
    assert "auc" not in Classification(MLP(3, 2, ()), 3).fingerprint(spec).metrics


def test_images_are_another_column():
    task = ImageClassification(MLP(4, 2), 2)
    assert task.inputs == "image"
    assert task.count({"label": torch.zeros(3), "image": torch.zeros(3, 1, 2, 2)}) == 3
    assert task.primary == ("accuracy", True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes=1: must be >= 2"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1.0: must be in \[0, 1\)"),
        ({"bad_rows": "keep"}, "bad_rows='keep': must be 'error' or 'drop'"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        passing(**settings)


def test_logits_are_the_output_of_the_model():
    task = Classification(MLP(4, 3), 3)
    module, inputs = task.model(), torch.randn(2, 4)
    assert torch.equal(task.logits(module, {"features": inputs}), module(inputs))


def test_weights_of_examples_by_hand():
    """Uniform logits: ln 2 each; weights 1, 0.5, 0 make the mean half of that, and the gradients shrink alike."""
    task = passing(num_classes=2, label_smoothing=0.1)
    batch = {"features": torch.zeros(3, 2), "label": torch.tensor([0, 1, 1])}
    weighted = {**batch, WEIGHT: torch.tensor([1.0, 0.5, 0.0])}
    model = nn.Identity()
    torch.testing.assert_close(task.loss(model, weighted), torch.tensor(0.5 * math.log(2)))
    torch.testing.assert_close(task.losses(batch["features"], weighted), math.log(2) * weighted[WEIGHT])
    outputs = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    ours = task.losses_and_gradients(weighted, outputs)
    theirs = Task.losses_and_gradients(task, weighted, outputs)
    torch.testing.assert_close(ours, theirs)


def test_weights_of_one_change_nothing():
    task = passing(num_classes=2)
    batch = {"features": torch.randn(3, 2), "label": torch.tensor([0, 1, 1])}
    weighted = {**batch, WEIGHT: torch.ones(3)}
    torch.testing.assert_close(task.loss(nn.Identity(), weighted), task.loss(nn.Identity(), batch))
