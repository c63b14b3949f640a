"""AUC of several labels and average precision, by hand, as laws, and beside scikit-learn."""

import functools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from raycollab.errors import ConfigError, DataError
from raycollab.metrics import AveragePrecision, MacroAUC, Statistics

KINDS = [MacroAUC, AveragePrecision]


def drawn(kind, seed, count=200, labels=3):
    random = np.random.default_rng(seed)
    scores = torch.from_numpy(random.integers(-9, 9, count) / 7)  # many ties, and zeros of both signs
    scores[::7] = -0.0
    targets = torch.from_numpy(random.integers(0, 2, count))
    places = torch.from_numpy(random.integers(0, labels, count))
    sizes = torch.bincount(places[targets == 1], minlength=labels) + 1
    return kind.of(places, scores, targets, sizes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_monoid_that_survives_json(kind):
    parts = [drawn(kind, seed) for seed in range(4)]
    one, other = (functools.reduce(lambda a, b: a + b, order) for order in (parts, parts[::-1]))
    assert one == other == (parts[1] + parts[3]) + (parts[0] + parts[2])
    bundle = Statistics.of({"scores": one})
    assert Statistics.from_plain(json.loads(json.dumps(bundle.to_plain()))) == bundle


def test_auc_is_scikit_learns():
    random = np.random.default_rng(0)
    targets, scores = random.integers(0, 2, (300, 4)), (random.integers(-9, 9, (300, 4)) / 8).astype(np.float32)
    labels = torch.arange(4).expand(300, -1)
    truth = torch.from_numpy(targets)
    found = MacroAUC.of(labels.flatten(), torch.from_numpy(scores).flatten(), truth.flatten(), truth.sum(0))
    assert found.compute()["auc"] == pytest.approx(roc_auc_score(targets, scores, average="macro"), abs=1e-12)
    assert found.by_label() == pytest.approx([roc_auc_score(targets[:, i], scores[:, i]) for i in range(4)], abs=1e-12)


def precision(pairs, size):
    """Average precision of one class: (score, found) of detections, and how many objects there are."""
    scores, found = (torch.tensor(each) for each in zip(*pairs, strict=True))
    return AveragePrecision.of(torch.zeros(len(pairs), dtype=torch.int64), scores, found, torch.tensor([size]))


@pytest.mark.parametrize(
    ("pairs", "size", "expected"),
    [
        ([(0.9, 1)], 1, 1.0),
        ([(0.9, 0), (0.8, 1)], 1, 0.5),
        ([(0.9, 1)], 2, 51 / 101),  # recall 0.5: precision 1 at the 51 levels 0 .. 0.5
        ([(0.9, 1), (0.8, 0), (0.7, 1)], 2, (51 + 50 * 2 / 3) / 101),
        ([(0.9, 0), (0.8, 1), (0.7, 1)], 2, 2 / 3),  # a later 2/3 stands for the 1/2 before it
        ([(0.9, 0)], 1, 0.0),
        ([(0.9, 1), (0.9, 0)], 1, 0.5),  # of one score: taken together
    ],
)
def test_average_precision_by_hand(pairs, size, expected):
    assert precision(pairs, size).compute()["map50"] == pytest.approx(expected)


def test_the_mean_is_over_classes_with_objects():
    """Class 0: all found. Class 1: nothing is said, one object. Class 2: no object, so it does not count."""
    found = AveragePrecision.of(
        torch.tensor([0, 2]), torch.tensor([0.5, 0.5]), torch.tensor([1, 0]), torch.tensor([1, 1, 0])
    )
    assert found.by_label()[:2] == [1.0, 0.0]
    assert math.isnan(found.by_label()[2])
    assert found.compute() == {"map50": 0.5}
    nothing = AveragePrecision.of(*(torch.zeros(0) for _ in range(3)), torch.zeros(2, dtype=torch.int64))
    assert math.isnan(nothing.compute()["map50"])


def reference(scores, found, size):
    """COCOeval.accumulate for one class, as it is written there: precision envelope, read off at 101 levels."""
    order = np.argsort(-scores, kind="mergesort")
    tp, fp = np.cumsum(found[order]), np.cumsum(1 - found[order])
    recall, envelope = tp / size, (tp / (tp + fp)).tolist()
    for i in range(len(envelope) - 1, 0, -1):
        envelope[i - 1] = max(envelope[i - 1], envelope[i])
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return np.mean([envelope[place] if place < len(envelope) else 0.0 for place in places])


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_cocos_where_no_scores_are_equal(seed):
    random = np.random.default_rng(seed)
    scores, found = random.permutation(60).astype(np.float32) / 64, random.integers(0, 2, 60)
    size = int(found.sum()) + seed
    ours = precision(list(zip(scores.tolist(), found.tolist(), strict=True)), size)
    assert ours.compute()["map50"] == pytest.approx(reference(scores, found, size), abs=1e-12)


def test_refuses():
    with pytest.raises(ConfigError, match="num_labels=2 and 3: all agents must use one setting"):
        drawn(MacroAUC, 0, labels=2) + drawn(MacroAUC, 0, labels=3)
    with pytest.raises(ConfigError, match="only statistics of one kind add up"):
        drawn(MacroAUC, 0) + drawn(AveragePrecision, 0)
    with pytest.raises(DataError, match="MacroAUC: scores must be finite, distinct and ascending, label by label"):
        MacroAUC([0, 0], [2.0, 1.0], [1, 1], [0, 0], [2])
    with pytest.raises(DataError, match=r"labels\[0\]=3"):
        MacroAUC.of(torch.tensor([3]), torch.tensor([0.5]), torch.tensor([1]), torch.tensor([1, 0]))
    with pytest.raises(ConfigError, match=r"label=3: must be in 0..2"):
        drawn(MacroAUC, 0).of_label(3)
