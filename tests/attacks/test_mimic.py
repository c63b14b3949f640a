import pytest
import torch

import raycollab as rc

from ..contracts.support import ONE_STEP, digits, train
from .support import one_round, rows


def chosen(*values, target="", names=None, state=None):
    mimic = rc.attacks.Mimic(target)
    agents = names or [f"agent-{i}" for i in range(len(values))]
    return mimic.plan(rows(*values), agents, mimic.init() if state is None else state)


def test_by_hand():
    """Of (1, 0), (2, 0.1), (9, 0) the first element varies most, so z is nearly (1, 0) and the third stands out."""
    assert chosen([1, 0], [2, 0.1], [9, 0]) == (2, {"target": "agent-2"})
    assert chosen([-9, 0], [2, 0.1], [1, 0]) == (0, {"target": "agent-0"})  # by magnitude


def test_the_direction_is_the_top_eigenvector_of_the_covariance():
    """As numpy finds it in [d, d]; rows far from the origin, where the largest row would be another."""
    generator = torch.Generator().manual_seed(3)
    honest = torch.randn(7, 5, generator=generator) @ torch.diag(torch.tensor([1.0, 1, 1, 1, 6])) + torch.tensor(
        [9.0, 0, 0, 0, 0]
    )
    z = torch.linalg.eigh(torch.cov(honest.T)).eigenvectors[:, -1]
    expected = int((honest @ z).abs().argmax())
    assert chosen(*honest.tolist())[0] == expected


def test_the_target_stays():
    """Also where another one stands out later; a round without it takes that round's own, and does not forget."""
    state = {"target": "agent-0"}
    assert chosen([1.0], [2.0], [9.0], state=state) == (0, state)
    assert chosen([2.0], [9.0], names=["agent-1", "agent-2"], state=state) == (1, state)


def test_in_a_round():
    """Two of four send what the named one sends."""
    done, (a, b, *_) = one_round(rc.Attack("mimic", num_agents=2, target="agent-1"), sizes=(3,) * 4)
    torch.testing.assert_close(done.params, (a + 3 * b) / 4)


def test_the_choice_is_kept_over_rounds_and_checkpoints():
    done = train(digits(ONE_STEP, num_agents=4, rounds=3, attack=rc.Attack("mimic", num_agents=1)))
    target = done.driver.state_dict()["chain"]["aggregator"]["bad"]["target"]
    assert target in {"agent-0", "agent-1", "agent-2"}


@pytest.mark.parametrize("target", ["agent-3", "nobody"])
def test_refuses_a_target_that_is_not_honest(target):
    with pytest.raises(rc.ConfigError, match=f"Attack.target='{target}': must be one of the honest agents agent-0, ag"):
        one_round(rc.Attack("mimic", num_agents=1, target=target), sizes=(3,) * 4)
