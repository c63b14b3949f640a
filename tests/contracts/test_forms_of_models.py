"""Toys: models in bf16, with tied weights, with BatchNorm, and with buffers that are bound anew in forward."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import raycollab as rc

from .support import DIGITS, ONE_STEP, Training, digits, train


def built(make, **args):
    return replace(DIGITS, net=rc.models.Module(make, args))


class Low(nn.Module):
    """A bf16 body under a float32 head: two dtypes, two flat buffers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(64, 16).bfloat16()
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.body(x.flatten(1).bfloat16())).float())


def test_bf16_models_are_summed_in_float32():
    """A step far below bf16's resolution moves the common parameters, and small steps add up over rounds."""
    experiment = digits(rc.SGD(lr=0.3, momentum=0.5, epochs=3), rc.Mean(), task=built(Low), rounds=6)
    start = Training(experiment)
    before = start.params
    done = start.finish()
    assert done.params.dtype == torch.float32
    assert [entry.dtype for entry in done.driver.offer.spec.params] == ["bfloat16", "bfloat16", "float32", "float32"]
    body = done.params[: 64 * 16]
    assert not torch.equal(body, body.bfloat16().float())  # a mean of bf16 deltas, not rounded to bf16
    assert not torch.equal(before, done.params)
    assert done.reports[-1].metrics["accuracy"] > 0.5


def test_an_agent_that_does_not_move_sends_zero_though_loading_rounds():
    """The difference is taken from what was loaded: else the rounding itself would be sent as a step."""
    done = Training(digits([rc.SGD(lr=1e-30, steps=1)], task=built(Low), rounds=2))
    done.driver._versions[0]["params"] = done.params + 1e-4  # no longer a bf16 number
    assert done.steps(1).reports[0].agents[0].norm == 0


def flat(dtype):
    """A linear layer in a dtype, under the same names in each."""

    class Cast(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1).to(self.weight.dtype)).float()

    return Cast(64, 10).to(dtype)


def test_parties_may_differ_in_precision():
    """One trains in bf16, one in float64, the common parameters stay in float32."""
    experiment = digits(ONE_STEP, task=built(flat, dtype=torch.float32), num_agents=2, rounds=2)
    tasks = [built(flat, dtype=torch.bfloat16), built(flat, dtype=torch.float64)]
    members = tuple(replace(agent, task=task) for agent, task in zip(experiment.members(), tasks, strict=True))
    done = train(replace(experiment, agents=rc.Parties(members)))
    assert [model.flats[0].dtype for model in done.models()] == [torch.bfloat16, torch.float64]
    assert [len(report.agents) for report in done.reports] == [2, 2]
    assert done.params.dtype == torch.float32


class SendsLow(rc.SGD):
    """Sends bf16 that still hangs on its graph."""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return update.with_vectors(delta=update.vectors["delta"].bfloat16().requires_grad_() * 1), state


@pytest.mark.parametrize("rule", [rc.Mean(), rc.Median()], ids=repr)
def test_vectors_leave_an_agent_in_float32_and_without_a_graph(rule):
    done = train(digits(SendsLow(lr=0.1, steps=1), rule))
    assert done.params.dtype == torch.float32
    assert not done.params.requires_grad
    assert [report.failures for report in done.reports] == [(), ()]


class Tied(nn.Module):
    """An autoencoder whose decoder is the encoder's transpose, and a second layer that is the first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x.flatten(1))))))


def test_tied_weights_stand_once_and_stay_tied():
    done = train(digits(rc.SGD(lr=0.2, epochs=1), task=built(Tied), rounds=3))
    names = [entry.name for entry in done.driver.offer.spec.params]
    assert names == ["first.weight", "first.bias", "second.bias", "head.weight", "head.bias"]
    module = done.driver.module()
    assert module.first.weight is module.second.weight
    torch.testing.assert_close(module.second.weight.reshape(-1), done.params[: 64 * 64])


def normed(momentum=0.1):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16, momentum=momentum), nn.ReLU(), nn.Linear(16, 10)
    )


def statistics_of(done, examples, held):
    """The running mean [16] of an agent: 0.9 * 0 + 0.1 * its batch's mean, of the first layer's output."""
    with torch.no_grad():
        return 0.1 * held[1](held[0](examples)).mean(0)


@pytest.mark.parametrize("momentum", [None, rc.Momentum(0.9, lr=0.5)])
def test_buffers_are_averaged_by_weight_and_no_optimizer_touches_them(momentum):
    """By hand from a single step on all of each agent's examples; the steps of the server's optimizer differ."""
    chain = (rc.Mean(), momentum) if momentum else (rc.Mean(),)
    start = Training(digits(rc.SGD(lr=0.1, steps=1, batch_size=10**6), *chain, task=built(normed), rounds=1))
    first = start.driver.module()
    total = torch.zeros(16)
    for card in start.cards:
        shard = start.pool._hosts[0]._agents[card.agent]._shard
        total += card.examples * statistics_of(start, shard.columns()["image"], first)
    expected = total / sum(card.examples for card in start.cards)
    done = start.finish()
    torch.testing.assert_close(done.buffers[:16], expected, rtol=1e-4, atol=1e-6)


def test_momentum_over_rounds_leaves_buffers_alone():
    """With a learning rate that moves nothing, all that is left is the averaging of statistics."""
    still = rc.SGD(lr=1e-30, steps=1, batch_size=10**6)
    plain = train(digits(still, rc.Mean(), task=built(normed), rounds=4))
    driven = train(digits(still, rc.Mean(), rc.Momentum(0.9), task=built(normed), rounds=4))
    assert torch.equal(plain.buffers, driven.buffers)
    assert float(plain.buffers[:16].norm()) > 0


@pytest.mark.parametrize("momentum", [0.1, None])
def test_private_buffers_stay_with_each_agent(momentum):
    """None makes BatchNorm average over all batches so far, which needs its counter: private like the statistics."""
    exchange = rc.Exchange(buffers="private")
    done = Training(digits(ONE_STEP, task=built(normed, momentum=momentum), exchange=exchange, rounds=3)).finish()
    assert done.buffers.numel() == 0
    means = [done.remembered(f"agent-{i}")["private"]["2.running_mean"] for i in range(8)]
    assert all(not torch.equal(one, other) for i, one in enumerate(means) for other in means[:i])
    assert int(done.remembered("agent-0")["private"]["2.num_batches_tracked"]) == 3


def test_an_averaged_counter_starts_over_in_every_round():
    done = train(digits(ONE_STEP, task=built(normed), rounds=3))
    assert {int(model.module[2].num_batches_tracked) for model in done.models()} <= {0, 1}


class Rebinding(nn.Module):
    """A running mean that forward binds anew, and a cache that no state_dict has: both common in users' code."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(64))
        self.register_buffer("cache", torch.zeros(1), persistent=False)

    def forward(self, x):
        flat = x.flatten(1)
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * flat.mean(0)
            self.cache = self.cache + 1
        return self.layer(flat - self.seen) + 0 * self.cache


@pytest.mark.parametrize("buffers", ["average", "private"])
def test_buffers_that_are_bound_anew_are_followed(buffers):
    done = train(digits(ONE_STEP, task=built(Rebinding), exchange=rc.Exchange(buffers=buffers), rounds=2))
    if buffers == "average":
        assert float(done.buffers.norm()) > 0
    else:
        seen = [done.remembered(f"agent-{i}")["private"]["seen"] for i in range(8)]
        assert all(not torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])


@pytest.mark.parametrize("task", [built(normed), built(Rebinding), built(Low), built(Tied)])
def test_sharing_a_host_changes_no_bit(task):
    for exchange in (rc.Exchange(), rc.Exchange(buffers="private")):
        one = train(digits(ONE_STEP, task=task, exchange=exchange), num_hosts=1)
        assert train(digits(ONE_STEP, task=task, exchange=exchange), num_hosts=8).bits() == one.bits()


def test_gradients_set_to_none_are_put_back():
    """optimizer.zero_grad() and module.zero_grad() do that: training would go on with gradients of zero."""

    class Forgetful(rc.SGD):
        def step(self, model, velocities, factor=1.0):
            super().step(model, velocities, factor)
            model.module.zero_grad(set_to_none=True)

    forgetful = train(digits(Forgetful(lr=0.1, epochs=1)))
    assert forgetful.bits() == train(digits(rc.SGD(lr=0.1, epochs=1))).bits()
