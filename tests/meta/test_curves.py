"""Curves over inner steps and shots: computed, printed and drawn."""

from dataclasses import replace

import pytest

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.meta import Interval, curve, curve_picture, curve_table, few_shot
from raycollab.meta.curves import curve_figure

from .test_base import DIGITS
from .test_evaluation import LEARNER, untrained

CURVES = {
    "steps": {0: Interval(0.25, 0.05), 10: Interval(0.5, 0.0625)},
    "shots": {1: Interval(0.375, 0.05), 5: Interval(0.75, 0.025)},
}


def test_curves():
    """Over inner steps and over shots, each point a few_shot of its own: more of either lowers the loss here."""
    model = untrained()
    steps = curve(model, LEARNER, DIGITS, "steps", (0, 1, 8), episodes=6)
    shots = curve(model, LEARNER, DIGITS, "shots", (1, 8), episodes=6)
    assert steps[0].mean > steps[1].mean > steps[8].mean
    assert shots[1].mean > shots[8].mean
    assert steps[1] == few_shot(model, replace(LEARNER, steps=1), DIGITS, episodes=6)["after"]


def test_a_line_for_each_point():
    assert curve_table(CURVES, "accuracy").splitlines() == [
        "              accuracy",
        "steps      0  0.25 ± 0.05",
        "steps     10  0.5 ± 0.062",
        "shots      1  0.375 ± 0.05",
        "shots      5  0.75 ± 0.025",
    ]


def test_a_plot_for_each_setting():
    """Means over the setting's values, with bars of half the interval to both sides."""
    plots = curve_figure(CURVES, "accuracy").axes
    assert [axes.get_xlabel() for axes in plots] == ["steps", "shots"]
    assert plots[0].get_ylabel() == "accuracy, mean and 95 % interval"
    line, _, (bars,) = plots[0].containers[0]
    assert line.get_xydata().tolist() == [[0, 0.25], [10, 0.5]]
    spans = [[point[1] for point in segment] for segment in bars.get_segments()]
    assert spans == [pytest.approx([0.2, 0.3]), pytest.approx([0.4375, 0.5625])]


def test_the_picture_is_a_png():
    assert curve_picture(CURVES, "accuracy").startswith(b"\x89PNG")


@pytest.mark.parametrize(("learner", "setting"), [(LEARNER, "support"), (rc.ProtoNet(tasks=LEARNER.tasks), "steps")])
def test_refuses_a_setting_that_nobody_has(learner, setting):
    other = {"support": "steps or shots", "steps": "shots"}[setting]
    message = f"^curve over {setting}: {type(learner).__name__} with FewShot has none; take {other}$"
    with pytest.raises(ConfigError, match=message):
        curve(untrained(), learner, DIGITS, setting, (1, 2), episodes=2)
