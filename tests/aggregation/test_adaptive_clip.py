import math

import pytest
import torch

from raycollab.aggregation import AdaptiveClip, Mean, add_up
from raycollab.errors import ConfigError
from raycollab.types import Round, Update


def merged(rule, state, deltas, weights=(1.0, 1.0, 1.0, 1.0)):
    round = Round(1, 0, 0, {}, rule.tells(state))
    updates = [
        Update(str(i), weight, {"delta": torch.tensor(delta)})
        for i, (delta, weight) in enumerate(zip(deltas, weights, strict=False))
    ]
    total = add_up(rule.collect(update, round) for update in updates)
    update, state = rule.update(total, state, torch.zeros(2), seed=0)
    return update.vectors["delta"], state


def test_by_hand():
    """Norms 5, 1 and 2 (that is: short) at C = 2 of weights 1, 1 and 2: [1.2, 1.6], [0, 1] and [2, 0] twice.

    3 of 4 by weight are short, so C becomes 2 exp(-.4 (.75 - .5)).
    """
    rule = AdaptiveClip(quantile=0.5, lr=0.4, initial=2.0)
    delta, state = merged(rule, rule.init(torch.zeros(2)), [[3.0, 4.0], [0.0, 1.0], [2.0, 0.0]], weights=(1, 1, 2))
    torch.testing.assert_close(delta, torch.tensor([(1.2 + 4.0) / 4, (1.6 + 1.0) / 4]))
    assert state["clip_norm"] == pytest.approx(2 * math.exp(-0.1))


@pytest.mark.parametrize(("quantile", "low", "high"), [(0.25, 1.0, 2.0), (0.5, 2.0, 3.0), (0.75, 3.0, 4.0)])
@pytest.mark.parametrize("initial", [0.01, 100.0])
def test_the_norm_finds_the_quantile(quantile, low, high, initial):
    """Agents of norms 1, 2, 3 and 4, from far below and far above; at a norm between two of them the share fits."""
    rule = AdaptiveClip(quantile, lr=0.2, initial=initial)
    state = rule.init(torch.zeros(2))
    for _ in range(200):
        _, state = merged(rule, state, [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]])
    assert low * 0.95 <= state["clip_norm"] <= high * 1.05


def test_a_norm_that_nobody_reaches_is_the_mean():
    rule, deltas = AdaptiveClip(initial=100.0), [[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]
    found, _ = merged(rule, rule.init(torch.zeros(2)), deltas)
    updates = [Update(str(i), 1.0, {"delta": torch.tensor(delta)}) for i, delta in enumerate(deltas)]
    plain, _ = Mean().update(add_up(Mean().collect(u, Round(1, 0, 0, {})) for u in updates), {}, found, seed=0)
    assert torch.equal(found, plain.vectors["delta"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantile": 1.1}, r"AdaptiveClip\.quantile=1\.1: must be in \[0, 1\]"),
        ({"quantile": -0.1}, r"AdaptiveClip\.quantile=-0\.1: must be in"),
        ({"lr": 0.0}, r"AdaptiveClip\.lr=0\.0: must be > 0"),
        ({"initial": 0.0}, r"AdaptiveClip\.initial=0\.0: must be > 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        AdaptiveClip(**settings)


def test_squares_beyond_float32_are_clipped_and_not_lost():
    rule = AdaptiveClip(initial=1.0)
    delta, _ = merged(rule, rule.init(torch.zeros(2)), [[1e25, 1e25]])
    torch.testing.assert_close(delta, torch.full((2,), 0.5).sqrt())
