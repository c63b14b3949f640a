import pytest

from raycollab.report import gini, unevenness


def row(agent, **scores):
    return {"agent": agent, **scores}


def test_the_gini_coefficient_by_hand():
    """Of 1 and 3: the mean difference over ordered pairs is 1, half of it over the mean 2 is 1/4."""
    assert gini([1.0, 3.0]) == pytest.approx(0.25)
    assert gini([0.5, 0.5, 0.5]) == 0
    assert gini([0.0, 0.0, 0.0, 1.0]) == pytest.approx(3 / 4)
    assert gini([0.0, 0.0]) == 0


def test_a_line_on_the_last_score_of_each_agent():
    rows = [row("a", val_accuracy=0.1), row("b", val_accuracy=0.75), row("a", val_accuracy=0.25), row("c")]
    line = unevenness(rows, ("accuracy", True))
    assert line == "agents' own accuracy  0.2500 standard deviation, 0.2500 Gini"
    assert unevenness(rows[:1], ("accuracy", True)) == ""
    below = [row("a", test_loss=-1.0), row("b", test_loss=1.0)]
    assert unevenness(below, ("loss", False), "test") == "agents' own test loss  1.0000 standard deviation"
