"""Noise in shares: the sum of all has what is counted."""

import math
from dataclasses import replace

import pytest
import torch

from raycollab.errors import BudgetError, ConfigError
from raycollab.privacy import RDP, PrivacyBudget
from raycollab.transforms import NoiseShare

SIZE = 20_000
SHARE = NoiseShare(noise=2.0, max_norm=3.0, agents=4)


def sent(share, delta, seed=0, state=None):
    params = torch.zeros_like(delta)
    return share.update(delta, share.init(params) if state is None else state, params, seed=seed)


def test_the_sum_of_all_shares_has_all_of_the_noise():
    total = sum(sent(SHARE, torch.zeros(SIZE), seed=seed)[0] for seed in range(4))
    assert float(total.std()) == pytest.approx(2.0 * 3.0, rel=4 / math.sqrt(2 * SIZE))
    alone = sent(SHARE, torch.zeros(SIZE))[0]
    assert float(alone.std()) == pytest.approx(2.0 * 3.0 / 2, rel=4 / math.sqrt(2 * SIZE))


def test_deltas_are_clipped():
    little = replace(SHARE, noise=1e-9)
    torch.testing.assert_close(sent(little, torch.tensor([6.0, 8.0]))[0], torch.tensor([1.8, 2.4]))
    torch.testing.assert_close(sent(little, torch.tensor([0.6, 0.8]))[0], torch.tensor([0.6, 0.8]))


def test_another_delta_gets_other_noise(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    keyed = replace(SHARE, noise_key=str(key))
    one, other = torch.zeros(SIZE), torch.full((SIZE,), 1e-3)
    first = sent(keyed, one)[0]
    assert torch.equal(first, sent(keyed, one)[0])
    assert (sent(keyed, other)[0] - first).std() > 3.0
    assert not torch.allclose(first, sent(SHARE, one)[0])
    more = sent(replace(keyed, noise=4.0), one)[0]  # the same noise in two sizes would tell what it was added to
    assert abs(torch.corrcoef(torch.stack([first, more]))[0, 1]) < 4 / math.sqrt(SIZE)


def test_it_counts_and_stops():
    two, three = (RDP().epsilon(2.0, 1.0, rounds, 1e-5) for rounds in (2, 3))
    share = replace(SHARE, budget=PrivacyBudget((two + three) / 2))
    _, state = sent(share, torch.zeros(3))
    assert share.tells(state) == {"party_epsilon": RDP().epsilon(2.0, 1.0, 1, 1e-5), "last": 0.0}
    _, state = sent(share, torch.zeros(3), state=state)
    assert share.tells(state) == {"party_epsilon": two, "last": 1.0}
    with pytest.raises(BudgetError, match=r"NoiseShare: a round more would spend epsilon="):
        sent(share, torch.zeros(3), state=state)


def test_what_is_refused():
    SHARE.check_agents(10, 4)
    with pytest.raises(ConfigError, match=r"NoiseShare.agents=4: must be <= FailureConfig.min_agents=3"):
        SHARE.check_agents(10, 3)
    with pytest.raises(ConfigError, match=r"PrivacyBudget.delta=0.1: must be < 1/n of 10 agents"):
        replace(SHARE, budget=PrivacyBudget(delta=0.1)).check_agents(10, 4)
    with pytest.raises(ConfigError, match=r"NoiseShare.budget=.*one round costs epsilon="):
        replace(SHARE, budget=PrivacyBudget(0.1)).check_agents(10, 4)
    with pytest.raises(ConfigError, match=r"NoiseShare.noise_key='/nowhere': cannot be read"):
        replace(SHARE, noise_key="/nowhere").init(torch.zeros(2))
    for name, value in (("noise", 0.0), ("max_norm", math.inf), ("agents", 0), ("budget", 1.0), ("accountant", 1.0)):
        with pytest.raises(ConfigError, match=f"NoiseShare.{name}="):
            replace(SHARE, **{name: value})
