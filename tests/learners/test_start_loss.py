import pytest
import torch

from raycollab.data import Shard
from raycollab.errors import ConfigError, RoundStopped
from raycollab.learners import REPORTED, SGD, Prox, Scaffold, StartLoss
from raycollab.models import Module
from raycollab.params import Exchange, FlatModel
from raycollab.task import Problem
from raycollab.tasks import ImageClassification
from raycollab.types import Round

from .conftest import TASK, build

INNER = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=6)


def test_it_is_the_loss_of_an_ordinary_module_before_any_step(bench):
    """Batches of 6 of 20 examples: the last of 2 counts by its size. The known-bad loss is that after the steps."""
    columns = bench.shard.columns()
    expected = float(TASK.loss(build(), columns).detach())
    update, _ = StartLoss(INNER, batch_size=6).update(bench.problem, bench.params, {}, bench.round)
    assert update.scalars["start_loss"] == pytest.approx(expected, rel=1e-6)
    assert float(TASK.loss(bench.model.module, columns).detach()) != pytest.approx(expected, rel=1e-3)


def test_the_learner_does_not_notice(bench):
    plain, kept = INNER.update(bench.problem, bench.params, {}, bench.round)
    update, also_kept = StartLoss(INNER).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(plain.vectors["delta"], update.vectors["delta"])
    assert torch.equal(kept["velocity"][0], also_kept["velocity"][0])
    assert plain.scalars == {name: value for name, value in update.scalars.items() if name != "start_loss"}
    assert bench.model.module.training


def noisy(num_classes=3):
    """Dropout, and BatchNorm with running statistics."""
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5), torch.nn.Linear(16, num_classes)
    )


def plain_loss(module, images, labels):
    return float(torch.nn.functional.cross_entropy(module(images), labels).detach())


def test_dropout_and_batch_norm_are_in_evaluation_mode():
    """The statistics are those of the round, and stay as they are; nothing is drawn."""
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(20, 1, 4, 4, generator=generator) + 3, torch.arange(20) % 3
    shard = Shard({"image": images, "label": labels}, val_fraction=0.0, seed=0)
    task = ImageClassification(Module(noisy), 3)
    model = FlatModel(noisy(), Exchange())
    problem = Problem("a", task, model, shard, lambda: False)
    round = Round(1, 7, 0, {"params": model.read(), "buffers": model.read_buffers()})
    expected = plain_loss(model.module.eval(), images, labels)
    stream = torch.get_rng_state()
    assert StartLoss(INNER, batch_size=7)._loss(problem, model.read(), round) == pytest.approx(expected, rel=1e-6)
    assert torch.equal(torch.get_rng_state(), stream)
    assert torch.equal(model.read_buffers(), round.vectors["buffers"])
    assert plain_loss(model.module.train(), images, labels) != pytest.approx(expected)


def test_it_asks_for_and_sends_what_its_learner_does():
    both = StartLoss(Scaffold(SGD(), option=2))
    assert both.needs == ("control",)
    assert both.sends == (*REPORTED, "control", "start_loss")
    assert set(both.init(torch.zeros(2))) == {"control", "learner"}
    assert StartLoss(Prox(SGD(), 0.1)).sends == (*REPORTED, "start_loss")


def test_it_stops_when_told(bench):
    told = Problem("a", TASK, bench.model, bench.shard, lambda: True)
    with pytest.raises(RoundStopped):
        StartLoss(INNER)._loss(told, bench.params, bench.round)


def test_an_empty_batch_is_refused():
    with pytest.raises(ConfigError, match=r"StartLoss\.batch_size=0: must be >= 1"):
        StartLoss(SGD(), batch_size=0)
