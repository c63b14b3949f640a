"""Statistics merge exactly, and agree with scikit-learn on the pooled data."""

import functools
import json
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report, f1_score, roc_auc_score

from raycollab.errors import ConfigError, DataError
from raycollab.metrics import (
    Average,
    CalibrationBins,
    Confusion,
    Perplexity,
    RankCounts,
    Statistic,
    Statistics,
    statistic_from_plain,
)

NUM_CLASSES = 5
ROUNDING = 1e-12  # float64, a few thousand additions
MAKERS = ["confusion", "rank", "calibration", "average", "perplexity"]
INTEGER_BACKED = MAKERS[:3]


def draw(seed: int, num_examples: int = 400) -> dict[str, torch.Tensor]:
    """Class 4 is never true and class 3 never predicted; scores have many ties, and both zeros."""
    random = np.random.default_rng(seed)
    scores = random.integers(-20, 20, num_examples).astype(np.float32) / 7
    scores[::9] = -0.0
    return {
        "targets": torch.from_numpy(random.integers(0, 4, num_examples)),
        "predictions": torch.from_numpy(random.choice([0, 1, 2, 4], num_examples)),
        "binary": torch.from_numpy(random.integers(0, 2, num_examples)),
        "scores": torch.from_numpy(scores),
        "confidence": torch.from_numpy(random.random(num_examples, dtype=np.float32)),
    }


def make(kind: str, data: dict[str, torch.Tensor]) -> Statistic:
    """The statistic of this kind over the data."""
    if kind == "confusion":
        return Confusion.of(data["targets"], data["predictions"], NUM_CLASSES)
    if kind == "rank":
        return RankCounts.of(data["scores"], data["binary"])
    if kind == "calibration":
        return CalibrationBins.of(data["confidence"], data["binary"])
    total, weight = float(data["confidence"].double().sum()), len(data["confidence"])
    return Average("loss", total, weight) if kind == "average" else Perplexity(total, weight)


def split(data: dict[str, torch.Tensor], seed: int, num_parts: int = 4) -> list[dict[str, torch.Tensor]]:
    """Random parts of unequal size; the last is empty."""
    num_examples = len(data["targets"])
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, num_examples, num_parts - 2))
    places = np.split(random.permutation(num_examples), [*cuts, num_examples])
    return [{name: values[torch.from_numpy(place)] for name, values in data.items()} for place in places]


def add(parts):
    """Sum from the left, without a neutral element."""
    return functools.reduce(lambda left, right: left + right, parts)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", INTEGER_BACKED)
def test_merging_any_split_in_any_order_is_the_pooled_statistic(kind, seed):
    """Integer-backed statistics are a commutative monoid bit for bit; an empty part changes nothing."""
    data = draw(seed)
    a, b, c, empty = (make(kind, part) for part in split(data, seed))
    assert (a + b) + c == a + (b + c) == c + (b + a) == make(kind, data)
    assert a + empty == a == empty + a
    assert (a + b) + c != a + b


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", MAKERS)
def test_merged_metrics_are_the_pooled_metrics(kind, seed):
    """Every kind, floats included, computes the pooled metrics from the merged parts."""
    data = draw(seed)
    merged = add([make(kind, part) for part in split(data, seed)])
    assert merged.compute() == pytest.approx(make(kind, data).compute(), rel=ROUNDING)


@pytest.mark.parametrize("kind", MAKERS)
def test_mean_of_agents_metrics_is_something_else(kind):
    """The known-bad way: averaging finished metrics over agents of unequal size."""
    data = draw(0)
    parts = [{name: values[:40] for name, values in data.items()}, {name: values[40:] for name, values in data.items()}]
    (name, pooled), *_ = make(kind, data).compute().items()
    averaged = np.mean([make(kind, part).compute()[name] for part in parts])
    assert averaged != pytest.approx(pooled, rel=1e-4)


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


@pytest.mark.parametrize("seed", range(4))
def test_auc_agrees_with_scikit_learn(seed):
    """With many tied scores; roc_auc_score sums trapezoids, so the last bits may differ."""
    data = draw(seed)
    merged = add([make("rank", part) for part in split(data, seed)])
    assert merged.compute() == pytest.approx({"auc": roc_auc_score(data["binary"], data["scores"])}, abs=ROUNDING)


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


def test_calibration_by_hand():
    """Two bins, (0, 0.5] and (0.5, 1]; all confidences are multiples of 1/8, so nothing is rounded.

    First bin: 0.25 wrong, 0.5 right: |1 - 0.75| = 0.25. Second: 0.75 right, 1.0 wrong: |1 - 1.75| = 0.75.
    ECE (0.25 + 0.75) / 4.
    """
    correct = torch.tensor([False, True, True, False])
    bins = CalibrationBins.of(torch.tensor([0.25, 0.5, 0.75, 1.0]), correct, num_bins=2)
    assert bins.counts.tolist() == [2, 2]
    assert bins.compute() == {"ece": 0.25}


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_calibration_agrees_with_the_definition(num_bins):
    """Equation 3 of Guo et al. in float64; 1e-9 is the documented rounding of the confidences."""
    data = draw(3)
    confidence, correct = data["confidence"].double().numpy(), data["binary"].numpy()
    place = np.ceil(confidence * num_bins)
    expected = sum(abs((correct - confidence)[place == b].sum()) for b in range(num_bins + 1)) / len(confidence)
    bins = CalibrationBins.of(data["confidence"], data["binary"], num_bins)
    assert bins.compute() == pytest.approx({"ece": expected}, abs=1e-9)


def test_averages_by_hand():
    """Mean (1*2 + 4*1) / 3 = 2; perplexity of 4 tokens of log 2 nats each is 2."""
    assert (Average("loss", 2.0, 2) + Average("loss", 4.0, 1)).compute() == {"loss": 2.0}
    assert (Perplexity(math.log(2), 1) + Perplexity(3 * math.log(2), 3)).compute() == pytest.approx({"perplexity": 2.0})
    assert Perplexity(1e6, 1).compute() == {"perplexity": math.inf}


@pytest.mark.parametrize(
    "statistic",
    [
        Average("loss", 0.0, 0),
        Perplexity(0.0, 0),
        Average("loss", math.nan, 3),
        Confusion(np.zeros((2, 2), dtype=np.int64)),
        RankCounts.of(torch.tensor([0.1, 0.2]), torch.tensor([1, 1])),
        CalibrationBins.of(torch.tensor([]), torch.tensor([])),
    ],
    ids=lambda statistic: type(statistic).__name__,
)
def test_what_is_not_defined_is_nan(statistic):
    """No examples, for the AUC one class only, or a model that diverged."""
    assert all(math.isnan(value) for value in statistic.compute().values())


@pytest.mark.parametrize("kind", MAKERS)
def test_survives_json_and_pickle(kind):
    """Every bit, so that a restarted run reports the same numbers."""
    statistic = make(kind, draw(1))
    assert statistic_from_plain(json.loads(json.dumps(statistic.to_plain(), allow_nan=False))) == statistic
    assert pickle.loads(pickle.dumps(statistic)) == statistic


@pytest.mark.parametrize("kind", INTEGER_BACKED)
def test_empty_survives_json(kind):
    """A statistic of no examples too, whose lists may be empty."""
    statistic = make(kind, {name: values[:0] for name, values in draw(1).items()})
    assert statistic_from_plain(json.loads(json.dumps(statistic.to_plain()))) == statistic


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float32, torch.bfloat16])
def test_labels_of_any_dtype(dtype):
    """Binary targets often come as bool or float."""
    labels = torch.tensor([0, 1, 1, 0])
    assert Confusion.of(labels.to(dtype), labels, 2) == Confusion.of(labels, labels, 2)


def test_arguments_stay_as_they_are():
    """The statistic keeps its own copy, and nobody can write into it."""
    matrix = np.array([[1, 2], [3, 4]])
    confusion = Confusion(matrix)
    matrix[0, 0] = 9
    assert confusion.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        confusion.matrix[0, 0] = 9


NAN = math.nan


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Average("loss", 1.0, -1), DataError, r"Average\.weight=-1\.0"),
        (lambda: Average("", 1.0, 1), ConfigError, r"Average\.name=''"),
        (lambda: Confusion.of(torch.tensor([0, 2]), torch.tensor([0, 1]), 2), DataError, r"targets\[1\]=2: .*0 to 1"),
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([-1]), 2), DataError, r"predictions\[0\]=-1"),
        (lambda: Confusion.of(torch.tensor([0.5]), torch.tensor([0]), 2), DataError, r"targets\[0\]=0\.5"),
        (lambda: Confusion.of(torch.tensor([NAN]), torch.tensor([0]), 2), DataError, r"targets\[0\]=nan"),
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([0, 1]), 2), DataError, "equally long"),
        (lambda: Confusion.of(torch.zeros(2, 2), torch.zeros(2, 2), 2), DataError, "one-dimensional"),
        (lambda: Confusion.of(torch.tensor([0]), torch.tensor([0]), 0), ConfigError, "num_classes=0"),
        (lambda: Confusion(np.array([[1, 2]])), DataError, r"shape \(1, 2\)"),
        (lambda: Confusion(np.array([[0.5]])), DataError, "integers >= 0"),
        (lambda: Confusion(np.array([[-1]])), DataError, "holds -1: must hold integers >= 0"),
        (lambda: Confusion(np.array([[2**63]], dtype=np.uint64)), DataError, "integers >= 0"),
        (lambda: RankCounts.of(torch.tensor([NAN]), torch.tensor([1])), DataError, r"scores\[0\]=nan"),
        (lambda: RankCounts.of(torch.ones(1).double() * 1e300, torch.ones(1)), DataError, r"scores\[0\]=1e\+300"),
        (lambda: RankCounts.of(torch.tensor([0.1]), torch.tensor([2])), DataError, r"targets\[0\]=2"),
        (lambda: RankCounts(np.array([2.0, 1.0]), np.array([1, 1]), np.array([0, 0])), DataError, "ascending"),
        (lambda: RankCounts(np.array([2.0]), np.array([1, 1]), np.array([0])), DataError, "equally long"),
        (lambda: CalibrationBins.of(torch.tensor([1.5]), torch.tensor([1])), DataError, r"confidence\[0\]=1\.5"),
        (lambda: CalibrationBins.of(torch.tensor([0.5]), torch.tensor([1]), 0), ConfigError, "num_bins=0"),
        (lambda: CalibrationBins(np.array([1]), np.array([2]), np.array([0])), DataError, "at most counts"),
        (lambda: CalibrationBins(np.array([]), np.array([]), np.array([])), DataError, "0 bins"),
    ],
)
def test_bad_input_is_named(call, error, message):
    """What was set, its value, and what is accepted."""
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (Average("loss", 1, 1), Average("accuracy", 1, 1), "name='loss' and 'accuracy'"),
        (Average("loss", 1, 1), Perplexity(1, 1), r"Average \+ Perplexity"),
        (Confusion(np.eye(2, dtype=int)), Confusion(np.eye(3, dtype=int)), "num_classes=2 and 3"),
        (make("calibration", draw(0)), CalibrationBins.of(torch.ones(1), torch.ones(1), 2), "num_bins=15 and 2"),
        (make("rank", draw(0)), make("confusion", draw(0)), r"RankCounts \+ Confusion"),
    ],
)
def test_what_does_not_belong_together_is_refused(left, right, message):
    """Broadcasting would let some of these pass."""
    with pytest.raises(ConfigError, match=message):
        left + right


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"kind": "Popen", "args": "ls"},
        {"kind": ["Average"], "name": "loss"},
        {"kind": "Average", "name": "loss"},
        {"kind": "Average", "name": "loss", "total": "much", "weight": 1},
        {"kind": "Average", "name": "loss", "total": 1.0, "weight": NAN},
        {"kind": "Confusion", "matrix": [[1, 2], [3]]},
        {"kind": "Confusion", "matrix": [[True]]},
        {"kind": "RankCounts", "scores": ["high"], "positives": [1], "negatives": [0]},
        {"kind": "RankCounts", "scores": [1e300], "positives": [1], "negatives": [0]},
        {"kind": "RankCounts", "scores": [0.5], "positives": ["one"], "negatives": [0]},
        "Average",
    ],
)
def test_plain_data_of_others_is_checked(plain):
    """What another party wrote is data, never code, and DataError whatever is wrong with it."""
    with pytest.raises(DataError):
        statistic_from_plain(plain)


def test_a_statistic_of_ones_own_needs_no_registry():
    """A subclass is read back by its class name; the plain form of a missing one is refused."""
    with pytest.raises(DataError, match="'OwnCount'"):
        statistic_from_plain({"kind": "OwnCount", "total": 3})

    @dataclass(frozen=True, eq=False)
    class OwnCount(Statistic):
        total: int

        def __add__(self, other):
            return OwnCount(self.total + other.total)

        def compute(self):
            return {"own": float(self.total)}

    assert statistic_from_plain((OwnCount(1) + OwnCount(2)).to_plain()) == OwnCount(3)


def bundle(seed: int, *kinds: str) -> Statistics:
    """A bundle of these kinds by name."""
    return Statistics.of({kind: make(kind, draw(seed, num_examples=30)) for kind in kinds})


def test_statistics_merge_by_name():
    """Agents with different tasks: the union of the parts, each merged with its namesake."""
    a, b, c = bundle(0, "rank", "confusion"), bundle(1, "calibration", "confusion"), bundle(2, "rank")
    assert (a + b) + c == a + (b + c) == c + b + a
    assert sum([a, b, c], Statistics.empty()) == a + b + c
    assert [name for name, _ in (a + b).parts] == ["calibration", "confusion", "rank"]
    assert (a + b).get("confusion") == a.get("confusion") + b.get("confusion")
    assert a.get("calibration") is None


def test_statistics_compute_a_flat_dict():
    """One dict over all parts; the neutral element has none."""
    statistics = Statistics.of({"loss": Average("loss", 3, 2), "text": Perplexity(0, 1)})
    assert statistics.compute() == {"loss": 1.5, "perplexity": 1.0}
    assert Statistics.empty().compute() == {}


def test_statistics_survive_json():
    """The whole bundle, bit for bit."""
    statistics = bundle(0, *MAKERS)
    assert Statistics.from_plain(json.loads(json.dumps(statistics.to_plain()))) == statistics


def test_two_parts_with_one_metric_are_refused():
    """Neither may silently win."""
    with pytest.raises(ConfigError, match=r"\['loss'\] are reported by another part"):
        Statistics.of({"a": Average("loss", 1, 1), "b": Average("loss", 2, 1)}).compute()
    with pytest.raises(ConfigError, match=r"\['a'\] occur more than once"):
        Statistics((("a", Average("loss", 1, 1)), ("a", Average("loss", 2, 1))))
