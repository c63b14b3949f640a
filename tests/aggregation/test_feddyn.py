"""The driver's side by hand; whole runs against Algorithm 1 stand in tests/contracts/test_dynamic_regularisation.py."""

import pytest
import torch

from raycollab.aggregation import FedDyn, add_up
from raycollab.errors import ConfigError, QuorumError, UpdateError
from raycollab.learners import SGD, Dyn, StartLoss
from raycollab.modes import Buffered
from raycollab.types import Round, Update

from ..contracts.support import ONE_STEP, Training, digits


def merged(state, participation, *deltas):
    round = Round(1, 0, 0, {}, {"participation": participation})
    updates = [
        Update(str(i), 10.0**i, {"delta": torch.tensor([delta])}, {"alpha": 0.5}) for i, delta in enumerate(deltas)
    ]
    total = add_up(FedDyn().collect(update, round) for update in updates)
    update, state = FedDyn().update(total, state, torch.zeros(1), seed=0)
    return update.vectors["delta"].item(), state


def test_by_hand():
    """Half of the agents: mean 3, h = -1.5, step 4.5; then mean -1, h = -1.5 + .5 = -1, step -1 + 1 = 0.

    Weights of 1 and 10 change nothing.
    """
    step, state = merged(FedDyn().init(torch.zeros(1)), 0.5, 2.0, 4.0)
    assert (step, state["drift"].item()) == (4.5, -1.5)
    step, state = merged(state, 0.5, 0.0, -2.0)
    assert (step, state["drift"].item()) == (0.0, -1.0)


def test_agents_that_agree_on_standing_still_drift_on():
    """At the common minimum h is zero; a step of h that has not faded is the known-bad input."""
    assert merged({"drift": torch.zeros(1)}, 1.0, 0.0, 0.0)[0] == 0.0
    assert merged({"drift": torch.tensor([-1.0])}, 1.0, 0.0, 0.0)[0] == 1.0


def test_agents_that_learn_otherwise_are_refused_before_the_run():
    """FedDyn's sum of drifts would grow without end: nobody's gradient holds against it."""
    with pytest.raises(ConfigError, match=r"agent 'agent-0': FedDyn needs \['alpha'\], which SGD does not send"):
        digits(ONE_STEP, FedDyn()).resolved()
    digits(Dyn(ONE_STEP, 0.5), FedDyn()).resolved()
    digits(StartLoss(Dyn(ONE_STEP, 0.5)), FedDyn()).resolved()


def test_a_discount_is_refused_before_the_run():
    """Agents remember their part of the drift in full."""
    learner = Dyn(SGD(steps=1), 0.5)
    with pytest.raises(ConfigError, match=r"FedDyn\(\) keeps what it remembers .* set its power to 0"):
        digits(learner, FedDyn(), mode=Buffered(2)).resolved()
    digits(learner, FedDyn(), mode=Buffered(2, power=0)).resolved()


def test_agents_of_several_alphas_are_refused():
    round = Round(1, 0, 0, {}, {"participation": 1.0})
    one, two = (Update("x", 1.0, {"delta": torch.ones(1)}, {"alpha": alpha}) for alpha in (0.5, 0.25))
    FedDyn().check(FedDyn().collect(one, round))
    with pytest.raises(UpdateError, match=r"agents learn by Dyn with alpha 0\.25, 0\.5; give all of them the same"):
        FedDyn().check(add_up(FedDyn().collect(update, round) for update in (one, two)))
    learners = [Dyn(ONE_STEP, 0.5), Dyn(ONE_STEP, 0.25)]
    with pytest.raises(QuorumError, match=r"round 1: 8 of 8 agents answered .* alpha 0\.25, 0\.5"):
        Training(digits(learners, FedDyn())).steps(1)
