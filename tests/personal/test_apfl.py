"""APFL against Algorithm 1, and what the mixture must leave alone."""

import pytest
import torch

import raycollab as rc
from raycollab.models import CNN
from raycollab.own_model import own_model
from raycollab.params import Exchange, FlatModel

from ..contracts.support import gradient
from ..learners.conftest import Bench
from .conftest import close, rounds_of, steps, trained


class Reference:
    def __init__(self, columns, alpha, alpha_lr):
        self.columns, self.alpha, self.alpha_lr, self.v = columns, alpha, alpha_lr, None

    def __call__(self, start):
        w, v = start.clone(), start.clone() if self.v is None else self.v
        for _ in range(3):
            slope = gradient(self.columns, self.alpha * v + (1 - self.alpha) * w)
            alpha = min(max(self.alpha - self.alpha_lr * float(slope @ (v - w)), 0.0), 1.0)
            v = v - 0.1 * self.alpha * slope
            w = w - 0.1 * gradient(self.columns, w)
            self.alpha = alpha
        self.v = v
        return w - start


@pytest.mark.parametrize(("alpha", "alpha_lr"), [(0.5, 0.1), (0.3, 0.0), (0.9, 5.0)])
def test_is_algorithm_1(alpha, alpha_lr):
    done, columns = trained(rc.APFL(steps(), alpha=alpha, alpha_lr=alpha_lr))
    agents = [Reference(held, alpha, alpha_lr) for held in columns]
    common = rounds_of(agents)
    close(done.params, common)
    for index, agent in enumerate(agents):
        state = done.remembered(f"agent-{index}")["learner"]
        assert state["alpha"] == pytest.approx(agent.alpha, abs=1e-5)
        close(own_model(state, {"w": common})["w"], agent.alpha * agent.v + (1 - agent.alpha) * common)


def test_what_is_sent_is_what_the_learner_sends(bench):
    learner = rc.SGD(lr=0.1, momentum=0.9, batch_size=6)
    rule = rc.APFL(learner)
    plain, _ = learner.update(bench.problem, bench.params, {}, bench.round)
    update, _ = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    assert torch.equal(update.vectors["delta"], plain.vectors["delta"])


def test_statistics_of_the_mixture_are_its_own():
    """BatchNorm sees each batch twice: once in the mixture, whose statistics must not reach those that are sent."""
    task = rc.ImageClassification(CNN(3, size=4, channels=(2,), hidden=5, batch_norm=True), 3)
    found = []
    for rule in (rc.SGD(lr=0.1, batch_size=10), rc.APFL(rc.SGD(lr=0.1, batch_size=10))):
        bench = Bench(Exchange())
        torch.manual_seed(0)
        model = FlatModel(task.model(), Exchange())
        problem = rc.Problem("a", task, model, bench.shard, lambda: False)
        params, buffers = model.read(), model.read_buffers()
        round = rc.Round(1, 7, 0, {"params": params, "buffers": buffers})
        found.append(rule.update(problem, params, rule.init(params), round))
    (plain, _), (update, state) = found
    assert torch.equal(update.vectors["buffers"], plain.vectors["buffers"])
    assert state["share"]["1.running_mean"] == 1.0
    assert state["own"]["1.running_mean"].abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.1}, r"APFL\.alpha=1\.1: must be in \[0, 1\]"),
        ({"alpha_lr": -1.0}, r"APFL\.alpha_lr=-1\.0: must be >="),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.APFL(rc.SGD(), **settings)
