"""Statistics of every kind merge exactly, survive JSON, and refuse what does not belong to them."""

import importlib
import json
import math
import pickle
import pkgutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from raycollab import metrics
from raycollab.errors import ConfigError, DataError
from raycollab.metrics import (
    Average,
    CalibrationBins,
    Confusion,
    Perplexity,
    RankCounts,
    Statistic,
    statistic_from_plain,
)

from .support import INTEGER_BACKED, MAKERS, ROUNDING, add, draw, make, split


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Average("loss", 1.0, -1), DataError, r"Average\.weight=-1\.0"),
        (lambda: Average("", 1.0, 1), ConfigError, r"Average\.name=''"),
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
        {"kind": "Average", "name": "loss", "total": 1.0, "weight": math.nan},
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


def test_importing_the_package_imports_every_kind():
    """What an agent sends is read back by whoever has imported the package: no file of it is left out."""
    files = [
        importlib.import_module(f"{metrics.__name__}.{found.name}") for found in pkgutil.iter_modules(metrics.__path__)
    ]
    kinds = {
        name: kind
        for file in files
        for name, kind in vars(file).items()
        if isinstance(kind, type) and issubclass(kind, Statistic)
    }
    assert kinds == {name: getattr(metrics, name, None) for name in kinds}
    assert {"Average", "Confusion", "RankCounts", "CalibrationBins"} <= set(kinds)
