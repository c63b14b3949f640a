"""Ditto against Algorithm 1 as it is written."""

import pytest
import torch

import raycollab as rc

from ..contracts.support import gradient
from .conftest import close, rounds_of, steps, trained


class Reference:
    def __init__(self, columns, mu, lr, own_lr, own_count):
        self.columns, self.mu, self.lr, self.own_lr, self.own_count, self.v = columns, mu, lr, own_lr, own_count, None

    def __call__(self, w):
        local = w.clone()
        for _ in range(3):
            local = local - self.lr * gradient(self.columns, local)
        v = w.clone() if self.v is None else self.v
        for _ in range(self.own_count):
            v = v - self.own_lr * (gradient(self.columns, v) + self.mu * (v - w))
        self.v = v
        return local - w


def test_is_algorithm_1():
    done, columns = trained(rc.Ditto(steps(), mu=0.5, own=steps(0.2, 2)))
    agents = [Reference(held, 0.5, 0.1, 0.2, 2) for held in columns]
    close(done.params, rounds_of(agents))
    for index, agent in enumerate(agents):
        close(done.remembered(f"agent-{index}")["learner"]["own"]["w"], agent.v)


def test_what_is_sent_is_what_the_learner_sends():
    """Bit for bit: a model of one's own changes nothing for the others."""
    assert torch.equal(trained(rc.Ditto(steps()))[0].params, trained(steps())[0].params)


def test_own_steps_leave_the_private_part_and_the_common_buffers_alone(private_head):
    bench, learner = private_head, rc.SGD(lr=0.1, batch_size=6)
    rule = rc.Ditto(learner, mu=0.1, own=rc.SGD(lr=0.5, batch_size=6))
    plain, _ = learner.update(bench.problem, bench.params, {}, bench.round)
    head = bench.model.private()
    bench.model.load_private(None)
    update, state = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    assert torch.equal(update.vectors["delta"], plain.vectors["delta"])
    assert torch.equal(bench.model.private()["6.weight"], head["6.weight"])
    assert not torch.equal(state["own"]["6.weight"], head["6.weight"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": rc.SGD(), "mu": -1.0}, r"Ditto\.mu=-1\.0: must be >= 0 and finite"),
        ({"learner": rc.Scaffold(rc.SGD())}, r"Ditto\.learner=Scaffold.*: must be a LocalLearner"),
        ({"learner": rc.SGD(), "own": "SGD"}, r"Ditto\.own='SGD': must be a LocalLearner, or None"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.Ditto(**settings)
