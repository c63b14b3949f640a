from math import log, nan

import pytest

from raycollab.errors import ConfigError
from raycollab.selection import Candidate, LossAware


def select(losses, count=1, temperature=1.0, round=1, seed=0):
    candidates = [Candidate(name, 1, loss) for name, loss in losses.items()]
    return LossAware(temperature).select(candidates, count, round=round, seed=seed)


def counts(losses, **settings):
    drawn = [name for round in range(2000) for name in select(losses, round=round, **settings)]
    return [drawn.count(name) for name in losses]


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_softmax_by_hand(temperature):
    """exp(loss / temperature) = 1, 2, 5: of 2000 rounds of one 250, 500, 1250, within 4.5 * sqrt(2000 / 4)."""
    losses = {name: temperature * log(value) for name, value in (("a", 1), ("b", 2), ("c", 5))}
    assert counts(losses, temperature=temperature) == pytest.approx([250, 500, 1250], abs=100)


def test_one_after_the_other():
    """P(a and b of 1, 2, 5) = 1/8 * 2/7 + 2/8 * 1/6 = 13/168: of 2000 rounds 155, c is in all others."""
    assert counts({"a": 0.0, "b": log(2), "c": log(5)}, count=2)[2] == pytest.approx(2000 - 155, abs=4.5 * 12)


def test_who_has_no_loss_yet_counts_as_the_highest():
    assert counts({"a": nan, "b": log(2), "c": 0.0}) == pytest.approx([800, 800, 400], abs=100)
    assert counts({"a": nan, "b": nan}) == pytest.approx([1000, 1000], abs=100)


def test_losses_beyond_what_exp_can_hold():
    assert select({"a": 0.0, "b": 1e6, "c": 2e6}, count=2) == ["b", "c"]


def test_depends_on_round_and_seed_alone():
    losses = dict.fromkeys("abcdef", 1.0)
    rounds = [select(losses, 2, round=round) for round in range(9)]
    assert rounds == [select(losses, 2, round=round) for round in range(9)]
    assert rounds != [select(losses, 2, round=round, seed=1) for round in range(9)]
    assert select(losses, 6) == list("abcdef")


@pytest.mark.parametrize("temperature", [0.0, -1.0, nan])
def test_refuses(temperature):
    with pytest.raises(ConfigError, match=f"LossAware.temperature={temperature}: must be > 0"):
        LossAware(temperature)
