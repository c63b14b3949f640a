import torch

import raycollab as rc
from raycollab.meta import PartyTask, Reptile

from .conftest import CURVES


def test_closed_form_on_a_quadratic(quadratic):
    """k inner steps end at c_s + (1 - lr a)^k (w - c_s); the start goes outer.lr of the mean way to there."""
    learner = Reptile(lr=0.1, steps=3, tasks=PartyTask(3, 4), episodes=2, outer=rc.SGD(lr=0.5))
    ways = []
    for number in range(2):
        episode = quadratic.episode(learner, number)
        center, start = episode[0]["features"].mean(0), quadratic.start["w"]
        ways.append(((1 - 0.1 * CURVES) ** 3 - 1) * (start - center))
        found = learner.outer_gradient(quadratic.functional(), quadratic.start, episode)[1]["w"]
        torch.testing.assert_close(found, -ways[-1], rtol=1e-12, atol=1e-12)
    delta = quadratic.update(learner).vectors["delta"]
    torch.testing.assert_close(delta, 0.5 * sum(ways).float() / 2, rtol=1e-5, atol=1e-6)
