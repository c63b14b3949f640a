import functools
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_recall_fscore_support

from raycollab.errors import DataError
from raycollab.metrics import LabelCounts, Statistics


def pair(seed, count=100, labels=4):
    """Label 3 is never given, label 2 never true."""
    random = np.random.default_rng(seed)
    truth, given = random.integers(0, 2, (count, labels)), random.integers(0, 2, (count, labels))
    truth[:, 2], given[:, 3] = 0, 0
    return torch.from_numpy(truth), torch.from_numpy(given)


def test_by_hand():
    """Two rows of two labels, one wrong answer: hits 1 and 0, F1 2/3 and 0 of which the first was given twice."""
    counts = LabelCounts.of(torch.tensor([[1, 0], [0, 0]]), torch.tensor([[1, 0], [1, 0]]))
    found = counts.compute()
    assert found == {
        "f1_micro": pytest.approx(2 / 3), "f1_macro": pytest.approx(1 / 3), "exact_match": 0.5, "hamming": 0.75
    }  # fmt: skip


def test_it_is_scikit_learns():
    truth, given = pair(0)
    counts = LabelCounts.of(truth, given)
    found = counts.compute()
    for average in ("micro", "macro"):
        assert found[f"f1_{average}"] == pytest.approx(f1_score(truth, given, average=average, zero_division=0))
    assert counts.weighted().f1 == pytest.approx(f1_score(truth, given, average="weighted", zero_division=0))
    assert found["exact_match"] == accuracy_score(truth, given)
    assert found["hamming"] == pytest.approx(1 - hamming_loss(truth, given))
    scores = precision_recall_fscore_support(truth, given, average=None, zero_division=0)
    assert np.allclose(np.array(counts.per_class()), np.array(scores).T)


def test_a_monoid_that_survives_json():
    parts = [LabelCounts.of(*pair(seed)) for seed in range(3)]
    whole = LabelCounts.of(*(torch.cat(each) for each in zip(*(pair(seed) for seed in range(3)), strict=True)))
    assert functools.reduce(lambda a, b: a + b, parts) == whole == parts[2] + (parts[1] + parts[0])
    bundle = Statistics.of({"labels": whole})
    assert Statistics.from_plain(json.loads(json.dumps(bundle.to_plain()))) == bundle


def test_refuses():
    with pytest.raises(DataError, match=r"targets \[2, 3\] and predictions \[2, 2\]: must be \[n, c\]"):
        LabelCounts.of(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(DataError, match=r"targets\[1\]=2"):
        LabelCounts.of(torch.tensor([[0, 2]]), torch.zeros(1, 2))
    with pytest.raises(DataError, match="hits must be at most predicted and support"):
        LabelCounts([2], [1], [2], 0, 1)
