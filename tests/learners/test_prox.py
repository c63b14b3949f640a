from dataclasses import dataclass

import pytest
import torch

from raycollab.data import Shard
from raycollab.errors import ConfigError
from raycollab.learners import SGD, Optimizer, Prox
from raycollab.params import Exchange, FlatModel
from raycollab.schedules import Constant, Decay
from raycollab.task import Problem
from raycollab.types import Round

from ..contracts.support import Quadratic


def test_without_a_pull_it_is_the_learner(bench):
    learner = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=6)
    plain, kept = learner.update(bench.problem, bench.params, {}, bench.round)
    pulled, also_kept = Prox(learner, mu=0.0).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(plain.vectors["delta"], pulled.vectors["delta"])
    assert torch.equal(kept["velocity"][0], also_kept["velocity"][0])


def test_a_strong_pull_keeps_it_near(bench):
    learner = SGD(lr=0.01, batch_size=2, epochs=5)
    norms = [Prox(learner, mu).update(bench.problem, bench.params, {}, bench.round)[0].vectors["delta"].norm()
             for mu in (0.0, 1.0, 50.0)]  # fmt: skip
    assert norms[0] > norms[1] > norms[2] > 0


@dataclass(frozen=True)
class Line(Quadratic):
    """The loss sum(w): a gradient of 1 everywhere, so that delta = -lr * |a|_1."""

    def loss(self, model, batch):
        return model.w.sum() + 0 * batch["x"].sum()


def on_a_line(learner, mu=3.0):
    """The update of Prox over a learner on it."""
    shard = Shard({"x": torch.zeros(8, 1)}, val_fraction=0.0, seed=0)
    problem = Problem("a", Line(1), FlatModel(Line(1).model(), Exchange()), shard, lambda: False)
    params = torch.zeros(1)
    return Prox(learner, mu).update(problem, params, {}, Round(1, 0, 0, {"params": params}))[0]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_effective_steps_are_what_a_constant_gradient_moves(steps):
    """a_j = (1 - lr * mu)^(tau - 1 - j): the pull takes lr * mu of what has been moved in every later step."""
    update = on_a_line(SGD(lr=0.1, steps=steps, batch_size=8))
    assert update.scalars["effective_steps"] == pytest.approx(update.vectors["delta"].item() / -0.1, rel=1e-5)
    assert update.scalars["effective_steps"] == pytest.approx(sum(0.7**j for j in range(steps)), rel=1e-5)


@pytest.mark.parametrize("rule", [{"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}])
@pytest.mark.parametrize("schedule", [Constant(), Decay(0.5, over="steps")])
def test_effective_steps_with_momentum_and_a_schedule(rule, schedule):
    """As long as no gradient moves the end backwards, |a|_1 is what a constant gradient of 1 moves."""
    update = on_a_line(SGD(lr=0.1, steps=4, batch_size=8, schedule=schedule, **rule), mu=0.5)
    assert update.scalars["effective_steps"] == pytest.approx(update.vectors["delta"].item() / -0.1, rel=1e-5)


def test_effective_steps_of_a_pull_that_overshoots_are_a_norm():
    """lr * mu = 1.5: a = [-0.5, 1], of norm 1.5; the sum, 0.5, is no number of steps."""
    update = on_a_line(SGD(lr=0.1, steps=2, batch_size=8), mu=15.0)
    assert update.scalars["effective_steps"] == pytest.approx(1.5)


@pytest.mark.parametrize(("learner", "mu"), [(SGD(momentum=0.9), 0.0), (SGD(), 0.0), (Optimizer("AdamW"), 1.0)])
def test_effective_steps_of_other_learners_are_their_own(bench, learner, mu):
    update, _ = Prox(learner, mu).update(bench.problem, bench.params, {}, bench.round)
    assert update.scalars["effective_steps"] == learner.effective_steps([1.0] * int(update.scalars["steps"]))


@pytest.mark.parametrize("mu", [-1, float("inf")])
def test_a_pull_that_is_negative_or_endless_is_refused(mu):
    with pytest.raises(ConfigError, match=rf"Prox\.mu={mu}: must be >= 0 and finite"):
        Prox(SGD(), mu=mu)
