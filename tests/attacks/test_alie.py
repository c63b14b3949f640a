import pytest
import torch

import raycollab as rc
from raycollab.attacks.alie import deviations

from .support import one_round, rows


@pytest.mark.parametrize(
    ("num_agents", "num_bad", "z"),
    [
        (25, 5, 0.2533),  # s = 13 - 5 = 8, quantile((20 - 8) / 20) = quantile(0.6)
        (50, 12, 0.3360),  # s = 26 - 12 = 14, quantile(24 / 38)
        (25, 11, 1.0676),  # s = 13 - 11 = 2, quantile(12 / 14)
        (5, 2, 0.4307),  # s = 3 - 2 = 1, quantile(2 / 3)
        (3, 2, 0.0),  # a bad majority: s counts as 1, quantile(0) would be -infinity
    ],
)
def test_z_by_hand(num_agents, num_bad, z):
    assert deviations(num_agents, num_bad) == pytest.approx(z, abs=1e-4)


def test_by_hand():
    """Of 1, 2, 6 the mean is 3 and the sample's deviation sqrt(7); of 1, 1, 1 they are 1 and 0."""
    honest = rows([1, 1], [2, 1], [6, 1])
    torch.testing.assert_close(rc.attacks.LittleIsEnough(2.0).forge(honest, 1, 0), torch.tensor([3 - 2 * 7**0.5, 1.0]))
    by_formula = rc.attacks.LittleIsEnough().forge(honest, 2, 0)
    torch.testing.assert_close(by_formula, torch.tensor([3 - 0.430727 * 7**0.5, 1.0]))


def test_one_honest_agent_is_copied():
    assert rc.attacks.LittleIsEnough(2.0).forge(rows([1, 5]), 1, 0).tolist() == [1.0, 5.0]


def test_in_a_round():
    done, (a, b, c, *_) = one_round(rc.Attack("alie", num_agents=2, strength=1.5), sizes=(3,) * 5)
    honest = torch.stack([a, b, c])
    bad = honest.mean(0) - 1.5 * honest.std(0)
    torch.testing.assert_close(done.params, (honest.sum(0) + 2 * bad) / 5)


@pytest.mark.parametrize(("sizes", "num_bad"), [((3, 3), 1), ((3,) * 4, 2)])
def test_refuses_where_the_formula_has_no_z(sizes, num_bad):
    message = rf"Attack.num_agents={num_bad}: must be < {len(sizes)}/2 of at least 3 agents, or set strength"
    with pytest.raises(rc.ConfigError, match=message):
        one_round(rc.Attack("alie", num_agents=num_bad), sizes=sizes)
    one_round(rc.Attack("alie", num_agents=num_bad, strength=1.0), sizes=sizes)


@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf")])
def test_refuses_a_strength(strength):
    with pytest.raises(rc.ConfigError, match=rf"LittleIsEnough.strength={strength}: must be > 0 and finite, or null"):
        rc.Attack("alie", num_agents=2, strength=strength)
