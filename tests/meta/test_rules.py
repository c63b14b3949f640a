"""Meta-gradients are deltas like any others: rules merge them."""

from dataclasses import replace

import torch

import raycollab as rc
from tests.contracts.support import Training, digits, train

LEARNER = rc.MAML(lr=0.1, tasks=rc.PartyTask(4, 4), episodes=2, vectorised=False)


def test_the_median_of_meta_gradients():
    """Element by element of what each of three agents sends, which a run of its own shows."""
    whole = digits(LEARNER, rc.Median(), rounds=1, num_agents=3)
    start = Training(whole).params.clone()
    alone = [replace(whole, agents=rc.Parties((agent,)), chain=(rc.Mean(),)) for agent in whole.members()]
    deltas = torch.stack([train(each).params - start for each in alone])  # [3, d]
    assert len(deltas.norm(dim=1).unique()) == 3
    torch.testing.assert_close(train(whole).params - start, deltas.median(0).values, rtol=1e-5, atol=1e-6)
