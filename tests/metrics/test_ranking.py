"""The area under the ROC curve agrees with scikit-learn on the pooled data, ties included."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from raycollab.errors import DataError
from raycollab.metrics import RankCounts

from .support import ROUNDING, add, draw, make, split


@pytest.mark.parametrize("seed", range(4))
def test_auc_agrees_with_scikit_learn(seed):
    """With many tied scores; roc_auc_score sums trapezoids, so the last bits may differ."""
    data = draw(seed)
    merged = add([make("rank", part) for part in split(data, seed)])
    assert merged.compute() == pytest.approx({"auc": roc_auc_score(data["binary"], data["scores"])}, abs=ROUNDING)


def test_auc_by_hand():
    """Positives at 0.5 and 0.9, negatives at 0.1 and 0.5.

    Pairs: (0.5, 0.1) won, (0.5, 0.5) tied, (0.9, 0.1) won, (0.9, 0.5) won: 3.5 of 4.
    """
    rank = RankCounts.of(torch.tensor([0.5, 0.9, 0.1, 0.5]), torch.tensor([1, 1, 0, 0]))
    assert len(rank.scores) == 3
    assert rank.compute() == {"auc": 3.5 / 4}


def test_both_zeros_are_one_score():
    """0.0 and -0.0 tie, and their order leaves no trace in what is written."""
    positive = RankCounts.of(torch.tensor([0.0]), torch.tensor([1]))
    negative = RankCounts.of(torch.tensor([-0.0]), torch.tensor([0]))
    assert json.dumps((positive + negative).to_plain()) == json.dumps((negative + positive).to_plain())
    assert (positive + negative).compute() == {"auc": 0.5}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RankCounts.of(torch.tensor([math.nan]), torch.tensor([1])), DataError, r"scores\[0\]=nan"),
        (lambda: RankCounts.of(torch.ones(1).double() * 1e300, torch.ones(1)), DataError, r"scores\[0\]=1e\+300"),
        (lambda: RankCounts.of(torch.tensor([0.1]), torch.tensor([2])), DataError, r"targets\[0\]=2"),
        (lambda: RankCounts(np.array([2.0, 1.0]), np.array([1, 1]), np.array([0, 0])), DataError, "ascending"),
        (lambda: RankCounts(np.array([2.0]), np.array([1, 1]), np.array([0])), DataError, "equally long"),
    ],
)
def test_bad_input_is_named(call, error, message):
    """What was set, its value, and what is accepted."""
    with pytest.raises(error, match=message):
        call()
