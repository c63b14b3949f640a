"""When a run ends, and which rounds are evaluated."""

import math

import pytest

from raycollab.config import RunConfig
from raycollab.errors import ConfigError

from .support import Scripted, scored, scripted


def test_stops_after_num_rounds(tmp_path):
    driver = scripted(tmp_path, Scripted())
    assert [report.index for report in driver.rounds()] == [1, 2, 3]
    assert driver.stop_reason == "num_rounds=3"
    assert list(driver.rounds()) == []


def test_stops_at_the_target(tmp_path):
    run = RunConfig(num_rounds=9, target="accuracy >= 0.8")
    driver = scripted(tmp_path, Scripted(), task=scored(0.5, 0.7, 0.8, 0.9), run=run)
    assert len(list(driver.rounds())) == 3
    assert driver.stop_reason == "target accuracy >= 0.8"


def test_stops_when_patience_is_over(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(0.5, 0.7, 0.7, 0.6, 0.9), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 4
    assert driver.stop_reason == "no better accuracy in 2 evaluations"


def test_patience_begins_again_with_every_better_score(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(0.5, 0.4, 0.6, 0.5, 0.7, 0.1, 0.1), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 7


def test_a_score_that_is_none_is_no_better_and_no_best(tmp_path):
    driver = scripted(
        tmp_path, Scripted(), task=scored(math.nan, 0.5, math.nan, 0.4, 0.9), run=RunConfig(num_rounds=9, patience=2)
    )
    assert len(list(driver.rounds())) == 4


def test_a_target_that_no_task_reports(tmp_path):
    """Before round 1, so that no work is lost."""
    with pytest.raises(
        ConfigError, match="target metric 'acc' is not reported by this task; it reports: accuracy, auc"
    ):
        scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=9, target="acc >= 0.8"))


@pytest.mark.parametrize(("every", "num_rounds", "evaluated"), [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (9, 3, [3])])
def test_evaluates_when_due_and_at_the_end(tmp_path, every, num_rounds, evaluated):
    driver = scripted(tmp_path, Scripted(), run=RunConfig(num_rounds=num_rounds, eval_every=every))
    reports = list(driver.rounds())
    assert [report.index for report in reports if report.metrics] == evaluated
    assert [report.index for report in reports if report.own_metrics] == evaluated
