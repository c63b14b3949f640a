"""Every rule with agents that are let learn in the same steps: those that cannot learn one by one, to the same bits."""

from dataclasses import replace

import raycollab as rc

from .support import train
from .test_laws_of_runs import case, each_case

BLOCKS, AT_ONCE = 3, 3


def run(learner, chain, *, at_once, num_hosts):
    """Two rounds of five agents or more in three blocks; all agents hold as many examples, give or take one."""
    made = case(learner, chain, rounds=2, run={"num_blocks": BLOCKS}, scaling=rc.ScalingConfig(agents_at_once=at_once))
    shards = rc.data.Digits("train").split(rc.IID(num_parts=8))
    agents = [replace(agent, shard=shard) for agent, shard in zip(made.agents.agents(), shards, strict=True)]
    return train(replace(made, agents=rc.Parties(tuple(agents))), num_hosts=num_hosts)


@each_case
def test_agents_at_once(learner, chain, monkeypatch):
    """The bits of three hosts are those of one; and, of learners that cannot share steps, of agents one by one.

    What learns in the same steps ends where it would by itself but for rounding: test_agents_at_once.py.
    """
    groups, inner = [], rc.SGD.update_together

    def watched(self, problems, *rest):
        groups.append(len(problems))
        return inner(self, problems, *rest)

    monkeypatch.setattr(rc.SGD, "update_together", watched)
    together = run(learner, chain, at_once=AT_ONCE, num_hosts=BLOCKS)
    assert not [failure for report in together.reports for failure in report.failures]
    shared = list(groups)
    if isinstance(learner, rc.SGD) and learner.joint:
        assert 2 <= max(shared) <= AT_ONCE
        assert together.bits() == run(learner, chain, at_once=AT_ONCE, num_hosts=1).bits()
        assert sum(groups) == 2 * sum(shared)
    else:
        assert together.bits() == run(learner, chain, at_once=0, num_hosts=1).bits()
        assert not groups
