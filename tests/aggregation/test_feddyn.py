"""The driver's side by hand; whole runs against Algorithm 1 stand in tests/contracts/test_dynamic_regularisation.py."""

import torch

from raycollab.aggregation import FedDyn, add_up
from raycollab.types import Round, Update


def merged(state, participation, *deltas):
    round = Round(1, 0, 0, {}, {"participation": participation})
    updates = [Update(str(i), 10.0**i, {"delta": torch.tensor([delta])}) for i, delta in enumerate(deltas)]
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
