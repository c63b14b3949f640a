import math
from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.deploy import TrainedModel
from raycollab.errors import ConfigError
from raycollab.meta import MAML, FewShot, Interval, OverEpisodes, PartyTask, few_shot
from raycollab.meta.evaluation import drawn
from raycollab.metrics import Statistics

from .test_base import DIGITS

LEARNER = MAML(lr=0.5, steps=5, tasks=FewShot(3, 2, 4))


def untrained():
    torch.manual_seed(0)
    task = rc.ImageClassification(rc.models.MLP(64, 3, hidden=(16,)), 3)
    return TrainedModel(task.model().eval(), task)


def test_intervals_by_hand():
    """Mean 2 and deviation 1 of three values: 1.96 / sqrt(3)."""
    interval = Interval.of(torch.tensor([1.0, 2.0, 3.0]))
    assert (interval.mean, interval.half) == (2.0, pytest.approx(1.96 / 3**0.5))
    assert str(interval) == "2 ± 1.1"
    found = OverEpisodes.of("accuracy", [1.0, 2.0, 3.0]).compute()
    assert found == {"accuracy": 2.0, "accuracy_half": pytest.approx(1.96 / 3**0.5)}


def test_statistics_over_episodes_add_up():
    """Two parts are what one pass over both would have given; nothing counted is nan; they travel as plain data."""
    whole = OverEpisodes.of("loss", [1.0, 2.0, 5.0])
    assert whole == OverEpisodes.of("loss", [1.0]) + OverEpisodes.of("loss", [2.0, 5.0])
    assert math.isnan(OverEpisodes.of("loss", []).compute()["loss"])
    statistics = Statistics.of({"loss": whole})
    assert Statistics.from_plain(statistics.to_plain()) == statistics


def test_few_shot_by_hand():
    """Accuracies before and after on the episodes at their addresses; the model stays as it was."""
    model = untrained()
    before = [p.clone() for p in model.module.parameters()]
    found = few_shot(model, LEARNER, DIGITS, episodes=5, metric="accuracy")
    values = []
    for support, query in drawn(LEARNER.tasks, DIGITS, 5, 0):
        adapted = model.adapt(support, LEARNER)
        values.append([each.predict(query)["prediction"] == query["label"] for each in (model, adapted)])
    first, last = ([row[i].float().mean() for row in values] for i in (0, 1))
    assert found["before"].mean == pytest.approx(torch.stack(first).mean().item())
    assert found["after"].mean == pytest.approx(torch.stack(last).mean().item())
    assert found["gain"].mean == pytest.approx(found["after"].mean - found["before"].mean)
    assert all(torch.equal(a, b) for a, b in zip(before, model.module.parameters(), strict=True))
    assert found != few_shot(model, LEARNER, DIGITS, episodes=5, metric="accuracy", seed=1)


def test_refuses():
    with pytest.raises(ConfigError, match=r"few_shot\.episodes=1: must be >= 2: one has no interval"):
        few_shot(untrained(), LEARNER, DIGITS, episodes=1)
    with pytest.raises(ConfigError, match=r"few_shot\.metric='auc': the task computes only accuracy, ece"):
        few_shot(untrained(), LEARNER, DIGITS, episodes=2, metric="auc")
    with pytest.raises(rc.DataError, match=r"PartyTask\(support=5000, query=10\) takes 5010 examples"):
        few_shot(untrained(), replace(LEARNER, tasks=PartyTask(5000)), DIGITS)
