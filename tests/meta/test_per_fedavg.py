from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.errors import ConfigError
from raycollab.meta import FOMAML, MAML, PartyTask, PerFedAvg

TASKS = {"tasks": PartyTask(3, 4)}


def test_first_order_is_fomaml(curved):
    fo = PerFedAvg(lr=0.1, outer_steps=3, outer=rc.SGD(lr=0.2), **TASKS)
    other = FOMAML(lr=0.1, episodes=1, outer_steps=3, outer=rc.SGD(lr=0.2), **TASKS)
    assert torch.equal(curved.update(fo).vectors["delta"], curved.update(other).vectors["delta"])


@pytest.mark.parametrize("factors", [{}, {"0.*": 0.0, "*.bias": 3.0}], ids=str)
def test_hessian_free_is_maml_but_for_the_difference(curved, factors):
    """The central difference is exact to delta^2 in float64; the Hessian's part is there."""
    learner = PerFedAvg(lr=0.1, factors=factors, hessian="difference", **TASKS)
    given = (curved.functional(), curved.start, curved.episode(learner))
    free, exact = (each.outer_gradient(*given)[1] for each in (learner, MAML(lr=0.1, factors=factors, **TASKS)))
    first = replace(learner, hessian="none").outer_gradient(*given)[1]
    for name, tensor in exact.items():
        torch.testing.assert_close(free[name], tensor, rtol=1e-4, atol=1e-6)
    assert max((first[name] - tensor).abs().max() for name, tensor in exact.items()) > 1e-3


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"PerFedAvg\.hessian='exact': must be one of \('none', 'difference'\)"):
        PerFedAvg(lr=0.1, hessian="exact")
    with pytest.raises(ConfigError, match=r"PerFedAvg\.steps=2: must be 1 with hessian='difference'"):
        PerFedAvg(lr=0.1, steps=2, hessian="difference")
    with pytest.raises(ConfigError, match=r"PerFedAvg\.delta=0: must be > 0"):
        PerFedAvg(lr=0.1, delta=0)
