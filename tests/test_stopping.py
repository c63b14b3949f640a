import math

import pytest

from raycollab.config import RunConfig
from raycollab.errors import ConfigError
from raycollab.stopping import Stopping


def reasons(run, scores, primary=("accuracy", True)):
    """The reason after each round, one evaluation a round."""
    stopping, found = Stopping(run, primary), []
    for version, score in enumerate(scores, 1):
        metrics = {primary[0]: score}
        stopping.observe(metrics)
        found.append(stopping.reason(version, metrics))
    return found


def test_the_target_ends_a_run():
    run = RunConfig(num_rounds=9, target="accuracy >= 0.8")
    assert reasons(run, [0.7, 0.79, 0.8]) == ["", "", "target accuracy >= 0.8"]


def test_patience_counts_evaluations_without_a_better_score():
    """0.6 is the best; 0.5 and 0.6 are not better, and that makes two."""
    assert reasons(RunConfig(patience=2), [0.5, 0.6, 0.5, 0.6])[2:] == ["", "no better accuracy in 2 evaluations"]


def test_lower_may_be_better():
    run = RunConfig(patience=1)
    assert reasons(run, [2.0, 1.0, 1.5], ("loss", False)) == ["", "", "no better loss in 1 evaluations"]


def test_nan_is_worse_than_any_score():
    assert reasons(RunConfig(patience=2), [math.nan, 0.1, math.nan, 0.2]) == [""] * 4


def test_num_rounds_ends_a_run():
    assert reasons(RunConfig(num_rounds=2), [0.1, 0.2]) == ["", "num_rounds=2"]


def test_what_it_remembers_survives():
    run = RunConfig(patience=2)
    first = Stopping(run, ("accuracy", True))
    for score in (0.6, 0.5):
        first.observe({"accuracy": score})
    second = Stopping(run, ("accuracy", True))
    second.load_state_dict(first.state_dict())
    second.observe({"accuracy": 0.6})
    assert second.reason(3, {}) == "no better accuracy in 2 evaluations"


def test_a_metric_that_is_not_reported():
    stopping = Stopping(RunConfig(target="acc > 0.5"), ("accuracy", True))
    with pytest.raises(ConfigError, match="target metric 'acc' is not reported by this task; it reports: accuracy"):
        stopping.reason(1, {"accuracy": 0.9})
