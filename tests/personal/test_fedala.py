"""FedALA against Algorithm 1, with the whole of a quadratic as the head."""

import pytest
import torch

import raycollab as rc
from raycollab.own_model import own_model

from ..contracts.support import gradient
from .conftest import close, rounds_of, steps, trained


class Reference:
    """W = 1 first, moved over some passes; later one step a round, as a batch holds all examples."""

    def __init__(self, columns, rate, first_passes):
        self.columns, self.rate, self.first_passes, self.own, self.weight = columns, rate, first_passes, None, None

    def __call__(self, common):
        start = common
        if self.own is not None:
            passes = self.first_passes if self.weight is None else 1
            weight = torch.ones(4) if self.weight is None else self.weight
            for _ in range(passes):
                slope = gradient(self.columns, self.own + weight * (common - self.own))
                weight = (weight - self.rate * slope * (common - self.own)).clamp(0, 1)
            self.weight = weight
            start = self.own + weight * (common - self.own)
        w = start
        for _ in range(3):
            w = w - 0.1 * gradient(self.columns, w)
        self.own = w
        return w - common

    def next_start(self, common):
        return self.own + self.weight * (common - self.own)


@pytest.mark.parametrize("first_passes", [1, 4])
def test_is_algorithm_1(first_passes):
    done, columns = trained(rc.FedALA(steps(), head=("w",), rate=0.7, first_passes=first_passes))
    agents = [Reference(held, 0.7, first_passes) for held in columns]
    common = rounds_of(agents)
    close(done.params, common)
    assert any(0 < float(value) < 1 for agent in agents for value in agent.weight)
    for index, agent in enumerate(agents):
        state = done.remembered(f"agent-{index}")["learner"]
        close(own_model(state, {"w": done.params})["w"], agent.next_start(common))


def test_the_body_starts_as_the_common_one(bench):
    """Only the head's parameters are mixed: with steps of no length, what is left of the update is the head's mix."""
    rule = rc.FedALA(rc.SGD(lr=1e-30, batch_size=6), head=("6.*",))
    first, state = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    assert first.vectors["delta"].norm() < 1e-6
    moved = bench.params + torch.randn(len(bench.params), generator=torch.Generator().manual_seed(0))
    update, _ = rule.update(bench.problem, moved, state, rc.Round(2, 7, 1, {**bench.round.vectors, "params": moved}))
    body = sum(entry.size for entry in bench.model.spec.params if not entry.name.startswith("6."))
    delta = update.vectors["delta"]
    assert delta[:body].abs().max() < 1e-5
    assert delta[body:].abs().max() > 1e-2


def test_a_pattern_that_matches_nothing_is_refused(bench, private_head):
    rule = rc.FedALA(rc.SGD(), head="head.*")
    with pytest.raises(rc.ModelError, match=r"agent 'a': FedALA\.head: pattern 'head\.\*' matches no parameter"):
        rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    rule = rc.FedALA(rc.SGD(), head=("6.*",))  # not exchanged there
    with pytest.raises(rc.ModelError, match=r"pattern '6\.\*' matches no parameter that is exchanged; there are: 0\."):
        rule.update(private_head.problem, private_head.params, rule.init(private_head.params), private_head.round)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"FedALA\.head=\(\): must be patterns of names"),
        ({"head": "x", "rate": 0.0}, r"FedALA\.rate=0\.0: must be > 0"),
        ({"head": "x", "part": 0.0}, r"FedALA\.part=0\.0: must be in \(0, 1\]"),
        ({"head": "x", "first_passes": 0}, r"FedALA\.first_passes=0: must be >= 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(rc.ConfigError, match=message):
        rc.FedALA(rc.SGD(), **settings)
