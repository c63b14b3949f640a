"""FedDyn's agents; that whole runs follow Algorithm 1 stands in tests/contracts/test_dynamic_regularisation.py."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.learners import SGD, Dyn, Prox

LEARNER = SGD(lr=0.1, momentum=0.9, keep_momentum=True, batch_size=6)


def test_at_first_it_is_prox(bench):
    """h_i is zero, and what is left is alpha / 2 * ||w - w_round||^2: the same operations, bit for bit."""
    rule = Dyn(LEARNER, alpha=0.5)
    update, state = rule.update(bench.problem, bench.params, rule.init(bench.params), bench.round)
    prox, kept = Prox(LEARNER, mu=0.5).update(bench.problem, bench.params, {}, bench.round)
    assert torch.equal(update.vectors["delta"], prox.vectors["delta"])
    assert torch.equal(state["gradient"], -0.5 * update.vectors["delta"])
    assert torch.equal(state["learner"]["velocity"][0], kept["velocity"][0])


def test_the_gradient_that_is_remembered_is_taken_off(bench):
    """One step from w_round, where the pull is zero: delta = -lr * (g - h), and h loses alpha * delta."""
    rule, h = Dyn(SGD(lr=0.1, batch_size=1000), alpha=0.5), torch.randn(bench.params.numel())
    plain, _ = rule.learner.update(bench.problem, bench.params, {}, bench.round)
    update, state = rule.update(bench.problem, bench.params, {"gradient": h, "learner": {}}, bench.round)
    # parameters near 1 have steps of 1e-7 in float32, and a delta is the difference of two
    torch.testing.assert_close(update.vectors["delta"], plain.vectors["delta"] + 0.1 * h, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(state["gradient"], h - 0.5 * update.vectors["delta"])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses(alpha):
    with pytest.raises(ConfigError, match=rf"Dyn\.alpha={alpha}: must be > 0 and finite"):
        Dyn(SGD(), alpha)
