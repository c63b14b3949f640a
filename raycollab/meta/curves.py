"""Curves of few-shot scores, over shots or inner steps: computed, printed and drawn."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from raycollab.deploy import TrainedModel
from raycollab.errors import ConfigError
from raycollab.meta.base import MetaLearner
from raycollab.meta.evaluation import Interval, Scorer, scores
from raycollab.task import Shard

Curve = Mapping[int, Interval]  # by a setting's value
_SETTINGS = ("steps", "shots", "support")


def curve(
    model: TrainedModel,
    learner: MetaLearner,
    shard: Shard,
    setting: str,
    values: Sequence[int],
    *,
    episodes: int = 600,
    seed: int = 0,
    metric: str = "loss",
) -> dict[int, Interval]:
    """The "after" of `few_shot`, over one setting.

    Args:
        model: Where to start.
        learner: Adapts.
        shard: A new party's data.
        setting: "steps" of the learner, or "shots" or "support" of its tasks.
        values: Of that setting.
        episodes: Of each point, >= 2.
        seed: They are drawn at the same addresses as those of `few_shot`.
        metric: Of the task's.
    Raises: ConfigError if neither has the setting.
    """
    known = [name for name in _SETTINGS if any(hasattr(owner, name) for owner in (learner, learner.tasks))]
    if setting not in known:
        kinds = f"{type(learner).__name__} with {type(learner.tasks).__name__}"
        raise ConfigError(f"curve over {setting}: {kinds} has none; take {' or '.join(known)}")

    def changed(value: int) -> MetaLearner:
        if hasattr(learner, setting):
            return replace(learner, **{setting: value})  # type: ignore[arg-type]
        return replace(learner, tasks=replace(learner.tasks, **{setting: value}))  # type: ignore[type-var]

    way = (Scorer.adapted,)
    settings = {"episodes": episodes, "seed": seed, "metric": metric}
    return {value: Interval.of(scores(model, changed(value), shard, way, **settings)[0]) for value in values}  # type: ignore[arg-type]


def curve_table(curves: Mapping[str, Curve], metric: str) -> str:
    """A line for each point: setting, value, and the metric with its interval."""
    rows = [(setting, str(value), str(found)) for setting, each in curves.items() for value, found in each.items()]
    wide = max(len(setting) for setting, _, _ in rows)
    lines = [f"{setting:<{wide}}  {value:>5}  {found}" for setting, value, found in rows]
    return "\n".join([f"{'':<{wide}}         {metric}", *lines])


def curve_picture(curves: Mapping[str, Curve], metric: str) -> bytes:
    """The same as a PNG: a plot for each setting, its intervals as bars."""
    file = io.BytesIO()
    curve_figure(curves, metric).savefig(file, format="png")
    return file.getvalue()


def curve_figure(curves: Mapping[str, Curve], metric: str) -> Any:
    """The picture before it is written, a figure of matplotlib."""
    figures: Any = import_module("matplotlib.figure")  # half a second that a run need not pay
    figure = figures.Figure(figsize=(1 + 4 * len(curves), 3.5), layout="constrained", dpi=120)
    for axes, (setting, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        means, halves = ([getattr(each, name) for each in points.values()] for name in ("mean", "half"))
        axes.errorbar(list(points), means, yerr=halves, fmt="o-", capsize=3)
        axes.set_xticks(list(points))
        axes.set_xlabel(setting)
        axes.set_ylabel(f"{metric}, mean and 95 % interval")
    return figure
