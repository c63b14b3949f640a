import pytest
import torch

import raycollab as rc

from .support import one_round


def test_noise_of_this_deviation_in_the_place_of_the_vector():
    """100,000 draws: their deviation is within 1 % (four standard errors of 1 / sqrt(2 n))."""
    vector = torch.full((100_000,), 7.0)
    noise = rc.attacks.Gaussian(3.0).forge(vector, seed=1)
    assert float(noise.mean()) == pytest.approx(0, abs=4 * 3 / 316)
    assert float(noise.std()) == pytest.approx(3.0, rel=0.01)
    assert torch.equal(noise, rc.attacks.Gaussian(3.0).forge(vector, seed=1))
    assert not torch.equal(noise, rc.attacks.Gaussian(3.0).forge(vector, seed=2))


def test_each_bad_agent_draws_its_own():
    done, (a, _, _) = one_round(rc.Attack("gaussian", num_agents=2, strength=0.5))
    noise = 3 * done.params - a
    assert float(noise.abs().min()) > 0
    norms = {report.agent: report.norm for report in done.reports[0].agents}
    assert norms["agent-1"] != norms["agent-2"]


@pytest.mark.parametrize("strength", [-1, float("inf")])
def test_refuses(strength):
    with pytest.raises(rc.ConfigError, match=rf"Gaussian.strength={strength}: must be > 0 and finite"):
        rc.attacks.Gaussian(strength)
