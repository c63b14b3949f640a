import pytest
import torch

import raycollab as rc

from .support import one_round


@pytest.mark.parametrize("strength", [None, 3.0])
def test_by_hand(strength):
    """The last of three agents counts backwards: (a + b - s c) / 3."""
    done, (a, b, c) = one_round(rc.Attack("sign_flip", num_agents=1, strength=strength))
    torch.testing.assert_close(done.params, (a + b - (strength or 1.0) * c) / 3)


def test_every_vector_that_an_agent_sends_is_turned():
    found = rc.attacks.SignFlip(2.0).forge(torch.tensor([1.0, -3.0]), seed=0)
    assert found.tolist() == [-2.0, 6.0]
    learner = rc.Scaffold(rc.SGD(lr=0.1, batch_size=100))
    honest, _ = one_round(rc.Attack(), sizes=(3, 3), learner=learner)
    attacked, _ = one_round(rc.Attack("sign_flip", num_agents=1), sizes=(3, 3), learner=learner)
    own = attacked.remembered("agent-1")["learner"]["control"]
    torch.testing.assert_close(honest.driver.vectors["control"] - attacked.driver.vectors["control"], own)  # c/2 + c/2
    assert torch.equal(own, honest.remembered("agent-1")["learner"]["control"])  # it remembers what it really learned


@pytest.mark.parametrize("strength", [0, float("inf")])
def test_refuses(strength):
    with pytest.raises(rc.ConfigError, match=rf"SignFlip.strength={strength}: must be > 0 and finite"):
        rc.attacks.SignFlip(strength)
