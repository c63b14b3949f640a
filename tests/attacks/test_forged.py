"""Who stands in for a learner is like it in all that others go by: what it asks for, withholds and is checked for."""

from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc
from raycollab.attacks.forged import Forged
from raycollab.attacks.free_rider import Idle
from raycollab.attacks.label_flip import Mislabelled
from raycollab.errors import ModelError

from ..contracts.support import Training, digits, train

ROUND = {"noise": 1.0, "max_grad_norm": 1.0, "lr": 0.1, "steps": 2, "batch_size": 8}


@dataclass(frozen=True)
class KeepsHead(rc.SGD):
    """Withholds the last layer."""

    withholds = True

    def update(self, problem, params, state, round):
        update, state = super().update(problem, params, state, round)
        return replace(update, withheld=("3.weight", "3.bias")), state


def disguises(learner):
    return [Forged(learner, rc.attacks.SignFlip()), Idle(learner), Mislabelled(learner, "label", 10)]


@pytest.mark.parametrize("learner", [KeepsHead(lr=0.1), rc.Scaffold(rc.SGD(lr=0.1)), rc.IFCA(rc.SGD(lr=0.1), 2)])
def test_what_others_go_by_is_the_learners(learner):
    for disguise in disguises(learner):
        for name in ("needs", "models", "sends", "remembers", "withholds"):
            assert getattr(disguise, name) == getattr(learner, name), (type(disguise).__name__, name)


def test_it_is_checked_as_the_learner_is():
    """A budget below one round, and a net that a learner cannot train."""
    private = rc.DPSGD(**ROUND, budget=rc.PrivacyBudget(0.01, 1e-4))
    net = rc.models.CNN(10, size=8, channels=(4,), hidden=8, batch_norm=True).build()
    for disguise in disguises(private):
        with pytest.raises(rc.ConfigError, match=r"DPSGD.budget=.*one round of 2 steps costs epsilon="):
            disguise.check(60)
        with pytest.raises(ModelError, match="BatchNorm2d"):
            disguise.check_model(net)
    for disguise in disguises(replace(private, budget=rc.PrivacyBudget(delta=1e-3))):
        disguise.check(60)


def test_a_bad_agent_that_cannot_learn_is_refused_before_round_1():
    private = rc.DPSGD(**ROUND, budget=rc.PrivacyBudget(0.01, 1e-4))
    made = digits(private, num_agents=2, attack=rc.Attack("sign_flip", num_agents=1))
    with pytest.raises(rc.DataError) as refused:
        Training(made)
    assert all(f"agent-{i}: DPSGD.budget=" in str(refused.value) for i in (0, 1))


def test_a_rule_that_takes_whole_updates_refuses_a_bad_agent_that_withholds():
    made = digits(KeepsHead(lr=0.1, steps=2), rc.Median(), num_agents=3, attack=rc.Attack("sign_flip", num_agents=1))
    with pytest.raises(rc.RaycollabError) as refused:
        Training(made)
    assert "agent-2" in str(refused.value)


def test_what_is_withheld_is_not_forged_either():
    """Of two agents, one of which turns its update around and keeps its head, the head is the honest one's alone."""
    learners = [rc.SGD(lr=0.1, steps=2), KeepsHead(lr=0.1, steps=2)]
    attack = rc.Attack("sign_flip", num_agents=1)
    done = train(digits(learners, rc.Mean("uniform"), num_agents=2, rounds=1, attack=attack))
    honest = train(digits(learners, rc.Mean("uniform"), num_agents=2, rounds=1))
    head = sum(entry.size for entry in done.driver.offer.spec.params if entry.name.startswith("3."))
    assert torch.equal(done.params[-head:], honest.params[-head:])
    assert not torch.equal(done.params[:-head], honest.params[:-head])


def test_a_party_that_is_turned_around_keeps_its_own_model():
    """What it learned for itself was never forged."""
    learner = rc.Ditto(rc.SGD(lr=0.1, steps=2))
    attack = rc.Attack("sign_flip", num_agents=1)
    done = Training(digits(learner, num_agents=2, rounds=1, attack=attack)).finish()
    assert done.reports[-1].personal_metrics["agent-1"]["accuracy"] > 0
