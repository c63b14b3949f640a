"""Forgetting by hand."""

import math

import pytest

from raycollab.report import AccuracyMatrix, forgetting_line

HISTORY = [
    {"round": 1, "accuracy": 0.4, "accuracy/a": 0.8, "accuracy/b": 0.1},
    {"round": 2},
    {"round": 3, "accuracy": 0.5, "accuracy/a": 0.3, "accuracy/b": 0.7},
    {"round": 4, "accuracy": 0.5, "accuracy/a": 0.4, "accuracy/b": 0.6},
]


def test_what_was_forgotten_is_the_best_less_the_last():
    matrix = AccuracyMatrix.of(HISTORY, ("accuracy", True))
    assert (matrix.rounds, matrix.tasks) == ((1, 3, 4), ("a", "b"))
    assert matrix.forgetting == {"a": pytest.approx(0.4), "b": pytest.approx(0.1)}
    assert matrix.final == {"a": 0.4, "b": 0.6}
    assert matrix.at((1, 4)).values == ((0.8, 0.1), (0.4, 0.6))
    line = "forgetting  0.2500 mean accuracy, 0.4000 worst (a), of 2 groups"
    assert forgetting_line(HISTORY, ("accuracy", True)) == line
    assert str(matrix).splitlines()[1].split() == ["1", "0.8000", "0.1000"]


def test_of_a_loss_the_smallest_is_the_best():
    rows = [{"round": 1, "loss/a": 0.2}, {"round": 2, "loss/a": 0.5}]
    assert AccuracyMatrix.of(rows, ("loss", False)).forgetting == {"a": pytest.approx(0.3)}


def test_a_task_that_is_scored_later_has_no_value_before():
    rows = [{"round": 1, "accuracy/a": 0.2}, {"round": 2, "accuracy/a": 0.5, "accuracy/b": 0.5}]
    matrix = AccuracyMatrix.of(rows, ("accuracy", True))
    assert math.isnan(matrix.values[0][1])
    assert matrix.forgetting == {"a": 0.0, "b": 0.0}


def test_without_groups_there_is_nothing_to_say():
    assert forgetting_line([{"round": 1, "accuracy": 0.4}], ("accuracy", True)) == ""
    assert AccuracyMatrix.of([], ("accuracy", True)).forgetting == {}
