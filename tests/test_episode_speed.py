"""Whether episodes are worked through together is measured once, and stands in the experiment from then on."""

from dataclasses import replace

import raycollab as rc
from raycollab.episode_speed import decided, singly
from raycollab.errors import DataError
from tests.contracts.support import digits

OPEN = rc.MAML(lr=0.1, tasks=rc.PartyTask(4, 4), episodes=16)


class Elsewhere(rc.data.Source):
    def read(self):
        raise DataError("elsewhere: not on this node")

    def describe(self):
        return "elsewhere"


def choices(experiment):
    return [agent.learner.vectorised for agent in experiment.members()]


def test_what_is_measured_is_written_into_the_experiment():
    """Also into the learner of a MetaTask, and inside a learner around it; each kind of learner is measured once."""
    asked = digits([OPEN, replace(OPEN, vectorised=False)])
    asked = replace(asked, task=rc.MetaTask(asked.task, OPEN))
    experiment, why = decided(asked)
    assert why.count("MAML: episodes together: ") == 1  # a small net: many times faster
    assert choices(experiment) == [True, False] * 4
    assert experiment.task.learner.vectorised is True
    assert decided(experiment) == (experiment, "")


def test_a_split_keeps_its_form():
    """The setting stands in the learners that are dealt out, so the experiment file holds it."""
    source = rc.data.Digits("train")
    split = rc.Split(source, rc.IID(3), (rc.StartLoss(OPEN), rc.SGD(lr=0.1)))
    experiment, _ = decided(replace(digits(), agents=split))
    assert experiment.agents.learners == (rc.StartLoss(replace(OPEN, vectorised=True)), rc.SGD(lr=0.1))


def test_what_is_open_may_be_left_to_single_episodes():
    """Nothing is measured, and what is set stays."""
    asked = digits([OPEN, replace(OPEN, vectorised=True), rc.SGD(lr=0.1)], num_agents=3)
    after = singly(asked)
    assert [getattr(agent.learner, "vectorised", None) for agent in after.members()] == [False, True, None]


def test_without_meta_learners_nothing_is_done():
    plain = digits()
    assert decided(plain) == (plain, "")


def test_data_that_is_not_here_is_said_and_not_measured():
    experiment = replace(digits(), agents=rc.Parties((rc.Agent("north", Elsewhere(), OPEN),)))
    after, why = decided(experiment)
    assert choices(after) == [False]
    assert why == "MAML: episodes one by one: elsewhere: not on this node"
