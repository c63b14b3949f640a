"""Agents side by side: which scores are compared, and who is named."""

import math

import pytest

from raycollab.report import compared, comparison

ACCURACY, LOSS = ("accuracy", True), ("loss", False)


def row(agent, **scores):
    return {"agent": agent, "round": 1, "failure": "", **scores}


ROWS = [
    row("a", val_accuracy=0.1, personal_val_accuracy=0.2),
    row("b", val_accuracy=0.5, personal_val_accuracy=0.9),
    row("a", val_accuracy=0.7, personal_val_accuracy=0.6),
    row("b", failure="RuntimeError: lost"),
]
ALONE = [
    row("a", val_accuracy=0.05, personal_val_accuracy=0.65),
    row("b", val_accuracy=0.05, personal_val_accuracy=0.4),
]


def test_the_last_scores_of_each_agent_count():
    a, b = compared(ROWS, ALONE, ACCURACY)
    assert (a.agent, a.common, a.personal, a.alone) == ("a", 0.7, 0.6, 0.65)
    assert (b.agent, b.common, b.personal, b.alone) == ("b", 0.5, 0.9, 0.4)


def test_with_private_parameters_the_agents_scores_are_their_own_models():
    """The common model lacks what they have: there is no score of it."""
    (found,) = compared([row("a", val_accuracy=0.8)], [], ACCURACY, private=True)
    assert math.isnan(found.common)
    assert found.personal == 0.8
    (found,) = compared([row("a", val_accuracy=0.8, personal_val_accuracy=0.9)], [], ACCURACY, private=True)
    assert found.personal == 0.9


def test_own_test_sets_are_used_where_all_have_one():
    scores = {"val_accuracy": 0.1, "test_accuracy": 0.2, "personal_val_accuracy": 0.3, "personal_test_accuracy": 0.4}
    (found,) = compared([row("a", **scores)], [row("a", **scores)], ACCURACY)
    assert (found.common, found.personal, found.alone) == (0.2, 0.4, 0.4)
    first, _ = compared([row("a", **scores), row("b", val_accuracy=0.5)], [], ACCURACY)
    assert first.common == 0.1


def test_the_worst_of_each_column_is_named():
    text = comparison(compared(ROWS, ALONE, ACCURACY), ACCURACY)
    assert "worst common    0.5000 (b)" in text
    assert "worst personal  0.6000 (a)" in text
    assert "worst alone     0.4000 (b)" in text
    assert text.endswith("1 of 2 agents are better off than alone, 1 worse\nbetter off alone: a (by 0.0500)")
    assert any(line.split() == ["median", "0.6000", "0.7500", "0.5250"] for line in text.splitlines())


def test_of_a_loss_the_largest_is_the_worst():
    rows = [row("a", val_loss=0.2), row("b", val_loss=0.9)]
    text = comparison(compared(rows, [row("a", personal_val_loss=0.4), row("b", personal_val_loss=0.4)], LOSS), LOSS)
    assert "worst common    0.9000 (b)" in text
    assert "worst personal" not in text
    assert text.endswith("1 of 2 agents are better off than alone, 1 worse\nbetter off alone: b (by 0.5000)")


def test_what_there_is_not_is_a_dash():
    text = comparison(compared(ROWS, [], ACCURACY), ACCURACY)
    assert text.splitlines()[1].split() == ["a", "0.7000", "0.6000", "-"]
    assert "better off" not in text


@pytest.mark.parametrize("rows", [[], [row("a", loss=1.0)], [row("a", val_accuracy=math.nan)]])
def test_without_scores_there_is_nothing_to_compare(rows):
    assert comparison(compared(rows, ALONE, ACCURACY), ACCURACY) == ""


def test_long_names_are_cut():
    lines = comparison(compared([row("x" * 60, val_accuracy=0.5)], [], ACCURACY), ACCURACY).splitlines()
    assert len(lines[1]) < 60
    assert "…" in lines[1]
