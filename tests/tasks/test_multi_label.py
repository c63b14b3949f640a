import math

import pytest
import torch
from torch import nn

from raycollab.data import WEIGHT
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.models import MLP, Module
from raycollab.params import Exchange, FlatModel
from raycollab.report import classification_report
from raycollab.tasks import MultiLabel


def passing(**settings):
    """A task whose module hands its inputs through: they are the logits."""
    return MultiLabel(Module(nn.Identity), settings.pop("num_labels", 2), **settings)


def batch(logits, labels):
    return {"features": torch.tensor(logits), "label": torch.tensor(labels)}


def test_loss_by_hand():
    """Logits 0 and ln 3 for labels 1 and 0: -ln 1/2 and -ln 1/4, whose mean is 1.5 ln 2; a weight of 1/2 halves it."""
    given = batch([[0.0, math.log(3)]], [[1, 0]])
    assert passing().loss(nn.Identity(), given).item() == pytest.approx(1.5 * math.log(2))
    weighted = {**given, WEIGHT: torch.tensor([0.5])}
    assert passing().loss(nn.Identity(), weighted).item() == pytest.approx(0.75 * math.log(2))
    assert passing().tells_losses


def test_metrics_by_hand():
    """Given 10, 11, 00 for 10, 01, 01: hits 1 of (given 2, true 1) and 1 of (1, 2); one row is all right."""
    given = batch([[1.0, -1.0], [2.0, 1.0], [-1.0, -2.0]], [[1, 0], [0, 1], [0, 1]])
    found = passing().statistics(nn.Identity(), given).compute()
    assert found["f1_micro"] == pytest.approx(2 / 3)
    assert found["f1_macro"] == pytest.approx(2 / 3)
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert found["hamming"] == pytest.approx(4 / 6)
    assert found["auc"] == pytest.approx((0.5 + 0.5) / 2)  # 1 > -1 but 1 < 2; 1 > -1 but -2 < -1


def test_batches_merge():
    given = batch([[1.0, -1.0], [2.0, 1.0], [-1.0, -2.0]], [[1, 0], [0, 1], [0, 1]])
    parts = [{name: column[rows] for name, column in given.items()} for rows in (slice(0, 1), slice(1, 3))]
    one, other = (passing().statistics(nn.Identity(), part) for part in parts)
    whole = passing().statistics(nn.Identity(), given)
    assert (one + other).get("labels") == whole.get("labels")
    assert (one + other).get("auc") == whole.get("auc")


def test_a_threshold():
    logits = {"features": torch.tensor([[math.log(3), 0.0]])}
    low, high = (passing(threshold=t).predict(nn.Identity(), logits) for t in (0.5, 0.7))
    assert low["prediction"].tolist() == [[1, 1]]
    assert high["prediction"].tolist() == [[1, 0]]
    assert low["probability"].tolist() == [pytest.approx([0.75, 0.5])]


def test_a_report_by_label():
    counts = passing().statistics(nn.Identity(), batch([[1.0, -1.0]], [[1, 1]])).get("labels")
    text = classification_report(counts, ["cat", "dog"])
    assert [line.split()[0] for line in text.splitlines() if line] == [
        "precision", "cat", "dog", "micro", "macro", "weighted",
    ]  # fmt: skip
    assert "accuracy" not in text


def test_fingerprint_and_features():
    task = MultiLabel(MLP(3, 2), 2)
    spec = FlatModel(task.model(), Exchange()).spec
    assert task.fingerprint(spec).loss == "binary_cross_entropy(num_labels=2)"
    assert task.features(task.model(), {"features": torch.zeros(4, 3)}).shape == (4, 128)
    assert task.coverage({"label": torch.tensor([[1, 0], [1, 0]])}) == "1 of 2 labels"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([[0, 1], [2, 3]]), r"here: row 1 has 2 for label 0 \(2 such entries\); every label is 0 or 1"),
        (torch.tensor([[0.0, 0.5], [1.0, math.nan]]), r"row 0 has 0.5 for label 1 \(2 such entries\)"),
        (torch.tensor([0, 1]), r"'label' holds shape \[2\]; num_labels=2 needs \[2, 2\]: a list of so many 0 and 1"),
        (torch.zeros(2, 3), r"'label' holds shape \[2, 3\]; num_labels=2"),
    ],
)
def test_labels_are_checked(labels, message):
    with pytest.raises(DataError, match=message):
        passing().check({"features": torch.zeros(2, 2), "label": labels}, "here")


def test_rows_of_other_labels_can_be_dropped():
    held = {"features": torch.zeros(3, 2), "label": torch.tensor([[0, 1], [2, 0], [1, 1]])}
    assert passing(bad_rows="drop").check(held, "here").tolist() == [True, False, True]
    held["features"][0, 0] = math.nan
    assert passing(bad_rows="drop").check(held, "here").tolist() == [False, False, True]


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32, torch.bool])
def test_any_zeros_and_ones_will_do(dtype):
    held = {"features": torch.zeros(2, 2), "label": torch.tensor([[0, 1], [1, 0]]).to(dtype)}
    assert passing().check(held, "here").all()
    assert passing().loss(nn.Identity(), held).item() == pytest.approx(math.log(2))
    assert passing().statistics(nn.Identity(), held).compute()["f1_micro"] == pytest.approx(2 / 3)  # 0 is predicted 1


def test_a_model_of_another_width():
    with pytest.raises(ModelError, match=r"output has shape \[1, 3\]; num_labels=2 needs \[1, 2\]"):
        passing().statistics(nn.Identity(), batch([[0.0, 0.0, 0.0]], [[0, 1]]))
    with pytest.raises(ConfigError, match=r"MultiLabel.num_labels=4: must be the net's num_outputs=3"):
        MultiLabel(MLP(2, 3), 4)


def test_refuses():
    with pytest.raises(ConfigError, match=r"MultiLabel.threshold=1.0: must be in \(0, 1\)"):
        passing(threshold=1.0)
