"""What must never reach a sum, and what must never be learned from: a bad agent costs only itself."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc

from .support import ONE_STEP, Training, digits, train


@dataclass(frozen=True)
class Sends(rc.SGD):
    """SGD whose update is spoilt in one way."""

    how: str = ""

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return (SPOILT[self.how](update) if self.how else update), state


def one_element(value):
    def spoil(update):
        delta = update.vectors["delta"].clone()
        delta[7] = value
        return update.with_vectors(delta=delta)

    return spoil


SPOILT = {
    "nan": one_element(math.nan),
    "inf": one_element(math.inf),
    "overflow in the sum": one_element(1e37),
    "short": lambda update: update.with_vectors(delta=update.vectors["delta"][:-1]),
    "long": lambda update: update.with_vectors(delta=torch.cat([update.vectors["delta"]] * 2)),
    "matrix": lambda update: update.with_vectors(delta=update.vectors["delta"].view(1, -1)),
    "nan in another vector": lambda update: update.with_vectors(fisher=update.vectors["delta"] * math.nan),
    "short other vector": lambda update: update.with_vectors(fisher=torch.ones(3)),
    "buffers that are not there": lambda update: update.with_vectors(buffers=torch.ones(3)),
    "nan weight": lambda update: replace(update, weight=math.nan),
    "infinite weight": lambda update: replace(update, weight=math.inf),
    "negative weight": lambda update: replace(update, weight=-1.0),
    "nan scalar": lambda update: replace(update, scalars={**update.scalars, "steps": math.nan}),
}


@pytest.mark.parametrize("chain", [(rc.Mean(),), (rc.Median(),), (rc.Mean("uniform"),)], ids=repr)
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_update_is_refused_and_never_touches_the_sum(how, chain):
    """The round has the bits of one in which the agent was not selected."""
    good = rc.SGD(lr=0.1, steps=2)
    spoilt = Training(digits([good] * 3 + [Sends(lr=0.1, steps=2, how=how)] + [good] * 4, *chain, rounds=1)).finish()
    (failure,) = spoilt.reports[0].failures
    assert (failure.agent, failure.error) == ("agent-3", "UpdateError"), failure
    assert "agent-3" in failure.message
    without = train(digits(good, *chain, rounds=1, select=Without("agent-3"), run={"agents_per_round": 7}))
    assert torch.equal(spoilt.params, without.params)


@dataclass(frozen=True)
class Without(rc.Selection):
    """Everybody but one."""

    name: str

    def select(self, candidates, count, *, round, seed):
        return [candidate.name for candidate in candidates if candidate.name != self.name]


@pytest.mark.parametrize("transform", [rc.Sign(1e-3), rc.RandomK(0.1), rc.TopK(0.1)], ids=repr)
@pytest.mark.parametrize("how", ["nan", "inf"])
def test_a_transform_does_not_hide_a_spoilt_update(how, transform):
    """The sign of NaN is 0, and most of its elements are not drawn: unseen, it would stay in the agent's memory."""
    bad = Sends(lr=0.1, steps=1, how=how)
    done = train(digits([ONE_STEP] * 7 + [bad], transform, rc.Mean(), rounds=2))
    for report in done.reports:
        assert [(failure.agent, failure.error) for failure in report.failures] == [("agent-7", "UpdateError")]
    assert done.remembered("agent-7") is None


def test_an_unspoilt_update_of_the_same_learner_is_taken():
    done = train(digits([ONE_STEP] * 7 + [Sends(lr=0.1, steps=2)], rounds=1))
    assert done.reports[0].failures == ()


def test_a_diverging_loss_is_refused():
    done = train(digits([ONE_STEP] * 7 + [rc.SGD(lr=1e30, steps=5)], rounds=1))
    (failure,) = done.reports[0].failures
    assert "lower lr" in failure.message or "NaN" in failure.message


def test_a_round_of_another_task_is_refused_by_every_agent():
    training = Training(digits())
    work = [rc.Assignment(name, 0) for name in training.driver.plan.names]
    other = rc.Round(1, 0, 0, training.driver.vectors, fingerprint="another")
    collected = training.pool.run(other, work)
    assert collected.total is None
    assert {failure.error for failure in collected.failures} == {"TaskMismatchError"}
    assert len(collected.failures) == 8
    good = replace(other, fingerprint=training.driver.offer.fingerprint.digest())
    assert training.pool.run(good, work).failures == ()


def test_a_party_that_approved_another_task_does_not_start():
    experiment = digits()
    agents = [replace(agent, approves="0123") if i == 2 else agent for i, agent in enumerate(experiment.members())]
    with pytest.raises(rc.TaskMismatchError, match="'agent-2' approves only task 0123"):
        Training(replace(experiment, agents=rc.Parties(tuple(agents))))


@dataclass(frozen=True)
class NeedsMore(rc.Aggregator):
    """A rule whose host side fails for updates without a scalar that it was not honest about needing."""

    def collect(self, update, round):
        return super().collect(update.with_vectors(delta=update.vectors["delta"] * update.scalars["trust"]), round)

    def update(self, total, state, params, *, seed):
        return total.mean(), state


@dataclass(frozen=True)
class Trusted(rc.SGD):
    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return replace(update, scalars={**update.scalars, "trust": 1.0}), state


def test_a_rule_that_fails_on_one_update_costs_only_that_agent():
    good = Trusted(lr=0.1, steps=1)
    done = train(digits([good] * 5 + [ONE_STEP] + [good] * 2, NeedsMore(), rounds=1))
    (failure,) = done.reports[0].failures
    assert (failure.agent, failure.error) == ("agent-5", "KeyError")


def test_a_round_below_quorum_never_was():
    """Nothing is committed: version, vectors and journal are as before."""
    experiment = digits(Sends(lr=0.1, steps=1, how="nan"), rounds=3, failure=rc.FailureConfig(max_attempts=2))
    training = Training(experiment)
    before = training.bits()
    with pytest.raises(rc.QuorumError, match="0 of 8 agents answered"):
        training.steps(1)
    assert training.bits() == before
    assert training.folder.rows() == []


@dataclass(frozen=True)
class Extra(rc.SGD):
    """Sends a second vector: twice its delta."""

    sends = ("double",)

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return update.with_vectors(double=2 * update.vectors["delta"]), state


def test_agents_may_send_different_vectors():
    """Each vector is divided by the weight that came with it: three agents of eight send "double"."""
    learners = [Extra(lr=0.1, steps=1)] * 3 + [rc.SGD(lr=0.1, steps=1)] * 5
    training = Training(digits(learners, rounds=1))
    work = [rc.Assignment(name, 0) for name in training.driver.plan.names]
    round = rc.Round(1, 0, 0, training.driver.vectors, fingerprint=training.driver.offer.fingerprint.digest())
    mean = training.pool.run(round, work).total.mean()
    three = training.pool.run(round, work[:3]).total.mean()
    torch.testing.assert_close(mean.vectors["double"], 2 * three.vectors["delta"])
    assert not torch.allclose(mean.vectors["delta"], three.vectors["delta"])


@dataclass(frozen=True)
class KeepsScratch(rc.SGD):
    """Forgets to copy: its state and a vector that it sends lie in the module that the host's agents share."""

    needs = ("gradient",)
    sends = ("gradient",)

    def update(self, problem, params, state, round):
        update = self.train(problem, params, round, lambda model, factor: self.step(model, [], factor))
        return update.with_vectors(gradient=problem.model.grads[0]), {"mine": problem.model.flats[0]}


def test_a_state_in_the_shared_module_is_copied():
    """Otherwise all agents of a host would remember, and send, what the last of them did."""
    one, eight = (
        train(digits(KeepsScratch(lr=0.1, batch_size=8, steps=1), rc.Median(), rounds=1), num_hosts=hosts)
        for hosts in (1, 8)
    )
    mine = [one.remembered(f"agent-{i}")["learner"]["mine"] for i in range(8)]
    assert all(not torch.equal(a, b) for i, a in enumerate(mine) for b in mine[:i])
    assert float(one.driver.vectors["gradient"].norm()) > 0
    assert one.bits() == eight.bits()


def test_a_learner_that_forgets_starts_the_next_round_without_memory():
    """Its empty state is a state: the one before must not come back."""

    @dataclass(frozen=True)
    class Forgets(rc.SGD):
        def update(self, problem, params, state, round):
            update, _ = super().update(problem, params, {}, round)
            seen.append((round.index, dict(state)))
            return update, {"kept": 1} if round.index == 1 else {}

    seen = []
    train(digits(Forgets(lr=0.1, steps=1), num_agents=1, rounds=4, run={"num_blocks": 1}))
    assert seen == [(1, {}), (2, {"kept": 1}), (3, {}), (4, {})]


@dataclass(frozen=True)
class Missing(rc.data.Source):
    """A source that cannot be read."""

    def read(self):
        raise rc.DataError("the disk is away")

    def describe(self):
        return "missing"


def test_an_agent_left_out_at_a_restart_keeps_its_state_for_the_next_one():
    """Its data is away for one resumption; what it stored goes from checkpoint to checkpoint meanwhile."""
    learner = rc.SGD(lr=0.1, momentum=0.9, keep_momentum=True, steps=2)
    whole = digits(learner, rounds=6, failure=rc.FailureConfig(on_agent_failure="skip"))
    members = whole.members()
    without = replace(whole, agents=rc.Parties((replace(members[0], shard=Missing()), *members[1:])))
    folder = Training(whole).steps(2).folder
    absent = Training(without, folder=folder).steps(2)
    assert {agent.agent for agent in absent.reports[-1].agents} == {f"agent-{i}" for i in range(1, 8)}
    back = Training(whole, folder=folder)
    kept = back.remembered("agent-0")
    assert kept["learner"]["velocity"][0].abs().sum() > 0
    report = back.steps(1).reports[-1]
    assert "agent-0" not in {agent.agent for agent in report.agents if agent.fresh}
