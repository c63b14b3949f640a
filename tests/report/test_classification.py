"""The report from merged counts is scikit-learn's report on the pooled labels, character by character."""

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report as reference

from raycollab.errors import ConfigError
from raycollab.metrics import Confusion
from raycollab.report import classification_report

NAMES = ["ant", "bee", "a very long class name", "dog"]


@pytest.mark.parametrize("digits", [0, 2, 3])
@pytest.mark.parametrize("names", [None, NAMES])
def test_same_text_as_scikit_learn(names, digits):
    """Class 3 is never predicted; the counts come from two agents."""
    random = np.random.default_rng(0)
    targets, predictions = random.integers(0, 4, 200), random.integers(0, 3, 200)
    pair = torch.from_numpy(targets), torch.from_numpy(predictions)
    merged = Confusion.of(pair[0][:50], pair[1][:50], 4) + Confusion.of(pair[0][50:], pair[1][50:], 4)
    expected = reference(targets, predictions, labels=range(4), target_names=names, digits=digits, zero_division=0)
    assert classification_report(merged, names, digits) == expected


def test_without_examples_the_averages_are_nan():
    """No examples: every class is 0 by zero_division, and there is nothing to average."""
    lines = classification_report(Confusion(np.zeros((2, 2), dtype=np.int64))).splitlines()
    assert lines[2].split() == ["0", "0.000", "0.000", "0.000", "0"]
    assert lines[5].split() == ["accuracy", "nan", "0"]
    assert lines[6].split() == ["macro", "avg", "nan", "nan", "nan", "0"]


def test_names_must_fit_the_classes():
    """One name too few is refused, and so are negative digits."""
    confusion = Confusion(np.eye(3, dtype=np.int64))
    with pytest.raises(ConfigError, match="2 names: must be 3"):
        classification_report(confusion, ["a", "b"])
    with pytest.raises(ConfigError, match="digits=-1"):
        classification_report(confusion, digits=-1)
