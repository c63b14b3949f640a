"""Bundles merge name by name."""

import json

import pytest

from raycollab.errors import ConfigError
from raycollab.metrics import Average, Perplexity, Statistics

from .support import MAKERS, draw, make


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
