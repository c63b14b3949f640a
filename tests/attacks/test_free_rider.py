import torch

import raycollab as rc

from ..contracts.support import Training, digits
from .support import one_round


def test_by_hand():
    """The second of two agents, of three and nine examples, shortens the step to a quarter."""
    done, (a, _) = one_round(rc.Attack("free_rider", num_agents=1), rc.Mean(), sizes=(3, 9))
    torch.testing.assert_close(done.params, a / 4)
    report = done.reports[0].agents[1]
    assert (report.weight, report.norm, report.examples, report.loss) == (9.0, 0.0, 9, 0.0)


def test_it_does_not_train():
    """Its learner is never asked, and so a learner that would fail does not."""
    done, _ = one_round(rc.Attack("free_rider", num_agents=1), sizes=(3, 3), learner=rc.SGD(lr=1e30, steps=9))
    assert {failure.agent for failure in done.reports[0].failures} == {"agent-0"}


def test_it_brings_what_the_rule_and_the_learners_need():
    learner = rc.Scaffold(rc.SGD(lr=0.1, steps=1))
    done = Training(digits(learner, rc.FedNova(), num_agents=3, attack=rc.Attack("free_rider", num_agents=1))).finish()
    assert not [failure for report in done.reports for failure in report.failures]


def test_it_claims_the_settings_that_a_rule_asks_for():
    """With another alpha than the honest ones it would end a run by FedDyn."""
    learner = rc.Dyn(rc.SGD(lr=0.1, steps=1), alpha=0.25)
    done = Training(digits(learner, rc.FedDyn(), num_agents=3, attack=rc.Attack("free_rider", num_agents=1))).finish()
    assert [len(report.agents) for report in done.reports] == [3, 3]
