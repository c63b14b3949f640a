"""Accuracy, precision, recall and F1 agree with scikit-learn on the pooled data."""

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report, f1_score

from raycollab.errors import ConfigError, DataError
from raycollab.metrics import Confusion

from .support import NUM_CLASSES, ROUNDING, add, draw, make, split


@pytest.mark.parametrize("seed", range(4))
def test_confusion_agrees_with_scikit_learn(seed):
    """Classes that are never true or never predicted included."""
    data = draw(seed)
    merged = add([make("confusion", part) for part in split(data, seed)])
    labels = range(NUM_CLASSES)
    pair = (data["targets"], data["predictions"])
    expected = classification_report(*pair, labels=labels, zero_division=0, output_dict=True)
    for label, row in enumerate(merged.per_class()):
        assert row == pytest.approx(tuple(expected[str(label)].values()), abs=ROUNDING)
    assert merged.macro() == pytest.approx(tuple(expected["macro avg"].values()), abs=ROUNDING)
    assert merged.weighted() == pytest.approx(tuple(expected["weighted avg"].values()), abs=ROUNDING)
    metrics = {
        "accuracy": expected["accuracy"],
        "precision_macro": expected["macro avg"]["precision"],
        "recall_macro": expected["macro avg"]["recall"],
        "f1_macro": f1_score(*pair, labels=labels, average="macro", zero_division=0),
        "f1_weighted": f1_score(*pair, labels=labels, average="weighted", zero_division=0),
    }
    assert merged.compute() == pytest.approx(metrics, abs=ROUNDING)


def test_confusion_by_hand():
    """Truth 0 0 0 1 1 2, predicted 0 0 1 1 0 1, so the rows are [2 1 0], [1 1 0], [0 1 0].

    Class 0: precision 2/3, recall 2/3, F1 2/3. Class 1: precision 1/3, recall 1/2, F1 = 2*1 / (3 + 2) = 2/5.
    Class 2: never predicted, all 0. Accuracy 3/6. Macro precision (2/3 + 1/3) / 3, recall (2/3 + 1/2) / 3 = 7/18,
    F1 (2/3 + 2/5) / 3 = 16/45. Weighted F1 (3 * 2/3 + 2 * 2/5 + 1 * 0) / 6 = 7/15.
    """
    confusion = Confusion.of(torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 0, 1]), 3)
    assert confusion.matrix.tolist() == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert confusion.per_class()[1] == pytest.approx((1 / 3, 1 / 2, 2 / 5, 2))
    assert confusion.compute() == pytest.approx(
        {
            "accuracy": 1 / 2,
            "precision_macro": 1 / 3,
            "recall_macro": 7 / 18,
            "f1_macro": 16 / 45,
            "f1_weighted": 7 / 15,
        }
    )


def test_arguments_stay_as_they_are():
    """The statistic keeps its own copy, and nobody can write into it."""
    matrix = np.array([[1, 2], [3, 4]])
    confusion = Confusion(matrix)
    matrix[0, 0] = 9
    assert confusion.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        confusion.matrix[0, 0] = 9


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([0]), 0), ConfigError, "num_classes=0"),
        (lambda: Confusion(np.array([[1, 2]])), DataError, r"shape \(1, 2\)"),
        (lambda: Confusion(np.array([[0.5]])), DataError, "integers >= 0"),
        (lambda: Confusion(np.array([[-1]])), DataError, "holds -1: must hold integers >= 0"),
        (lambda: Confusion(np.array([[2**63]], dtype=np.uint64)), DataError, "integers >= 0"),
    ],
)
def test_bad_input_is_named(call, error, message):
    """What was set, its value, and what is accepted."""
    with pytest.raises(error, match=message):
        call()
