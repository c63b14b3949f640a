"""Confident learning: the rule by hand, and known label errors found in real digits."""

import os

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

import raycollab as rc
from raycollab.data import IID, Digits, Dirichlet, Parquet
from raycollab.quality.confident import label_errors, out_of_sample
from raycollab.quality.neighbours import features
from raycollab.quality.suspects import find_suspects

DIGITS = Digits("train").read()
TASK = rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10)


def flipped(labels, share, seed):
    """Labels of which a share is replaced by another one, and which ones."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < share
    shift = generator.integers(1, 10, len(labels))
    return torch.from_numpy(np.where(wrong, (labels.numpy() + shift) % 10, labels.numpy())), torch.from_numpy(wrong)


def test_the_rule_by_hand():
    """Mean self-confidence: 0.7 of class 0, 0.6 of class 1; thresholds 0.63 and 0.54."""
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.48, 0.52], [0.42, 0.58]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert label_errors(probabilities, labels).tolist() == [False, False, True, False, False, False]
    unsure = probabilities.clone()
    unsure[2] = torch.tensor([0.47, 0.53])  # likelier the other class, but below its threshold
    assert not label_errors(unsure, labels).any()


def test_a_class_without_examples_and_one_without_doubts():
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert not label_errors(probabilities, torch.tensor([0, 0, 1])).any()
    assert label_errors(probabilities, torch.tensor([0, 1, 1])).tolist() == [False, True, False]


def test_probabilities_come_from_the_others():
    """An example's own label says nothing of its own probabilities."""
    points = features({"image": DIGITS["image"][:200]})
    labels = DIGITS["label"][:200].clone()
    before = out_of_sample(points, labels, 10)
    torch.testing.assert_close(before.sum(1), torch.ones(200))
    labels[7] = (labels[7] + 1) % 10
    after = out_of_sample(points, labels, 10)
    assert torch.equal(before[7], after[7])
    assert not torch.equal(before, after)


def found_in(parts, labels, wrong):
    suspects = torch.zeros(len(labels), dtype=torch.bool)
    for rows in map(torch.from_numpy, parts):
        points = features({"image": DIGITS["image"][rows]})
        suspects[rows] = label_errors(out_of_sample(points, labels[rows], 10), labels[rows])
    hits = int((suspects & wrong).sum())
    return hits / int(wrong.sum()), hits / int(suspects.sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("partition", [IID(1), IID(4), Dirichlet(1.0, 4)], ids=repr)
def test_flipped_digits_are_found(partition, seed):
    """Ten per cent of the labels, each party looking at its own rows: recall >= 0.8 at precision >= 0.7."""
    labels, wrong = flipped(DIGITS["label"], 0.1, seed)
    recall, precision = found_in(partition.assign(DIGITS), labels, wrong)
    assert recall >= 0.8
    assert precision >= 0.7


def test_agreement_is_scikit_learns_kappa():
    labels, _ = flipped(DIGITS["label"][:300], 0.3, 0)
    found = find_suspects({"image": DIGITS["image"][:300], "label": labels}, TASK)
    points = features({"image": DIGITS["image"][:300]})
    theirs = cohen_kappa_score(labels, out_of_sample(points, labels, 10).argmax(1))
    assert found.agreement == pytest.approx(theirs, abs=1e-6)
    same = {"image": DIGITS["image"][:50], "label": torch.zeros(50, dtype=torch.int64)}
    assert find_suspects(same, TASK).unjudged == "all are the same"


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_defaults_of_credit_are_no_label_errors():
    """Who defaults cannot be told from the accounts: unlike neighbours are the rule there, and nobody is accused."""
    names = ("LIMIT_BAL", "AGE", "PAY_0", "PAY_2", "PAY_3", "BILL_AMT1", "BILL_AMT2", "PAY_AMT1", "PAY_AMT2")
    source = Parquet("credit_default.parquet", columns=names, stack={"features": names}).split(IID(10))[0]
    found = find_suspects(source.read(), rc.Classification(rc.models.MLP(9, 2), num_classes=2))
    assert found.unjudged == "examples alike do not share them"
    assert found.agreement < 0.5
