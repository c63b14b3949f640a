"""Agents that learn in the same steps: the same run but for rounding, the same bits wherever they live."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from tests.contracts.support import Training, digits

LEARNERS = [
    rc.SGD(lr=0.1, batch_size=8),
    rc.SGD(lr=0.1, batch_size=8, steps=3, momentum=0.9, keep_momentum=True),
    rc.Prox(rc.SGD(lr=0.1, steps=2, batch_size=8), mu=0.5),  # cannot, and learns one by one as ever
]


def run(learner, *chain, at_once, num_hosts=1, rounds=2):
    """Eight agents in two blocks; they have as many examples each where they take as many steps."""
    scaling = rc.ScalingConfig(agents_at_once=at_once)
    made = digits(learner, *chain, rounds=rounds, run={"num_blocks": 2}, scaling=scaling)
    shards = rc.data.Digits("train").split(rc.IID(num_parts=8))
    agents = [replace(agent, shard=shard) for agent, shard in zip(made.agents.agents(), shards, strict=True)]
    return Training(replace(made, agents=rc.Parties(tuple(agents))), num_hosts=num_hosts).finish()


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_only_rounding_differs(learner, at_once):
    """1e-5: sums in another order."""
    alone, together = run(learner, at_once=0), run(learner, at_once=at_once)
    torch.testing.assert_close(together.driver.vectors["params"], alone.driver.vectors["params"], rtol=1e-4, atol=1e-5)
    for one, other in zip(alone.reports, together.reports, strict=True):
        assert sorted(agent.agent for agent in one.agents) == sorted(agent.agent for agent in other.agents)
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-4)


@pytest.mark.parametrize("learner", LEARNERS[:2], ids=repr)
def test_hosts_change_no_bit(learner):
    one, two = (run(learner, at_once=3, num_hosts=hosts) for hosts in (1, 2))
    assert torch.equal(one.driver.vectors["params"], two.driver.vectors["params"])


def test_rules_over_single_updates_get_them_one_by_one():
    alone, together = (run(LEARNERS[0], rc.Median(), at_once=count) for count in (0, 4))
    torch.testing.assert_close(together.driver.vectors["params"], alone.driver.vectors["params"], rtol=1e-4, atol=1e-5)


def test_they_really_learn_together(monkeypatch):
    """Of four agents in each of two blocks, two groups of two each, none alone."""
    groups = []
    inner = rc.SGD.update_together
    monkeypatch.setattr(rc.SGD, "update", None)
    monkeypatch.setattr(
        rc.SGD,
        "update_together",
        lambda self, problems, *rest: groups.append(len(problems)) or inner(self, problems, *rest),
    )
    run(LEARNERS[0], at_once=3, rounds=1)
    assert sum(groups) == 8
    assert max(groups) <= 3
