"""The private mean: clipped, divided by who was asked, with noise of its size, and counted."""

import math
from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import PrivateAdaptiveMean, PrivateMean, add_up
from raycollab.errors import BudgetError, ConfigError
from raycollab.privacy import RDP, PrivacyBudget
from raycollab.types import Round, Update

SIZE = 20_000


def asked(*names, rule=None, state=None, **scalars):
    return Round(1, 0, 0, {}, {**scalars, **(rule.tells(state) if rule else {})}, agents=names)


def merged(rule, deltas, *, names="abcd", state=None, seed=0, **scalars):
    params = torch.zeros(len(deltas[0]))
    state = rule.init(params) if state is None else state
    round = asked(*names, rule=rule, state=state, **scalars)
    updates = [Update(name, 5.0 + i, {"delta": d}) for i, (name, d) in enumerate(zip(names, deltas, strict=False))]
    return rule.update(add_up(rule.collect(update, round) for update in updates), state, params, seed=seed)


def test_by_hand():
    """Norms 5 and .5 at 1: [.6, .8] and [.5, 0], whatever they weigh, over the four that were asked, not the two."""
    rule = PrivateMean(noise=1e-9, max_norm=1.0)
    update, _ = merged(rule, [torch.tensor([3.0, 4.0]), torch.tensor([0.5, 0.0])])
    torch.testing.assert_close(update.vectors["delta"], torch.tensor([1.1 / 4, 0.8 / 4]))


def test_the_noise_has_its_size():
    """Zeros of four agents: noise 2 * max_norm 3 over 4, to four standard errors of a standard deviation."""
    delta = merged(PrivateMean(noise=2.0, max_norm=3.0), [torch.zeros(SIZE)] * 4)[0].vectors["delta"]
    assert float(delta.std()) == pytest.approx(2.0 * 3.0 / 4, rel=4 / math.sqrt(2 * SIZE))
    fewer = merged(PrivateMean(noise=2.0, max_norm=3.0), [torch.zeros(SIZE)] * 2)[0].vectors["delta"]
    assert torch.equal(delta, fewer)  # who was there does not show


def test_noise_follows_seed_and_key(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    rule, zeros = PrivateMean(noise=1.0, max_norm=1.0), [torch.zeros(50)]
    first = merged(rule, zeros)[0].vectors["delta"]
    assert torch.equal(first, merged(rule, zeros)[0].vectors["delta"])
    assert not torch.allclose(first, merged(rule, zeros, seed=1)[0].vectors["delta"])
    keyed = replace(rule, noise_key=str(key))
    assert not torch.allclose(first, merged(keyed, zeros)[0].vectors["delta"])
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"PrivateMean.noise_key=.*can be read by others \(mode 0640\)"):
        keyed.init(torch.zeros(50))


@pytest.mark.parametrize("keyed", [True, False])
def test_another_sum_gets_other_noise(tmp_path, keyed):
    """Two runs with one key, seed and first model: with one noise twice, their difference would have none."""
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    rule = PrivateMean(noise=1.0, max_norm=1.0, noise_key=str(key) if keyed else "")
    one, other = [torch.zeros(SIZE)], [torch.full((SIZE,), 1e-6)]
    first, second = (merged(rule, deltas)[0].vectors["delta"] for deltas in (one, other))
    assert float((second - first).std()) == pytest.approx(math.sqrt(2) / 4, rel=4 / math.sqrt(2 * SIZE))
    assert torch.equal(first, merged(rule, one)[0].vectors["delta"])  # a round that is done again tells nothing new
    more = merged(replace(rule, noise=2.0), one)[0].vectors["delta"]  # nor is it the same noise in another size
    assert abs(torch.corrcoef(torch.stack([first, more]))[0, 1]) < 4 / math.sqrt(SIZE)


def test_another_count_gets_other_noise():
    """Two runs of the adaptive rule with one seed: the noise on how many stayed below the norm differs, too."""
    rule = PrivateAdaptiveMean(noise=1.0, max_norm=1.0, lr=1.0)
    drawn = []
    for above in (0, 1):
        deltas = [torch.tensor([2.0])] * above + [torch.tensor([0.5])] * (4 - above)
        norm = merged(rule, deltas)[1]["clip_norm"]
        drawn.append(4 * (0.5 - math.log(norm)) - (4 - above))  # what was added to the count
    assert abs(drawn[0] - drawn[1]) > 1e-3


def test_rounds_of_different_samples_add_up():
    rule, zeros = PrivateMean(noise=2.0, max_norm=1.0), [torch.zeros(3)]
    update, state = merged(rule, zeros, sample_rate=0.1)
    update, state = merged(rule, zeros, state=state, sample_rate=0.2)
    expected = RDP().composed([(1.0, 0.1, 1), (1.0, 0.2, 1)], 1e-5)
    assert update.scalars["rule_epsilon"] == pytest.approx(expected, rel=1e-6)


def test_a_round_too_many_is_never_merged():
    """The second round asks so many more that the budget, which sufficed for another like the first, does not."""
    rule = PrivateMean(noise=4.0, max_norm=1.0, budget=PrivacyBudget(RDP().epsilon(2.0, 0.1, 3, 1e-5)))
    _, state = merged(rule, [torch.zeros(3)], sample_rate=0.1)
    assert rule.ended(state) == ""
    with pytest.raises(BudgetError, match=r"a round of 4 agents would spend epsilon="):
        merged(rule, [torch.zeros(3)], state=state, sample_rate=0.9)


def test_nothing_else_of_an_update_leaves():
    update = Update("a", 7.0, {"delta": torch.zeros(3), "fisher": torch.zeros(3)}, {"loss": 0.5})
    partial = PrivateMean(noise=1.0, max_norm=1.0).collect(update, asked("a"))
    assert set(partial.vectors) == {"delta"}
    assert set(partial.scalars) == {"asked", "sample_rate"}
    assert partial.weight == 1.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": 0.0}, "PrivateMean.noise=0.0: must be > 0"),
        ({"max_norm": math.inf}, "PrivateMean.max_norm=inf: must be > 0 and finite"),
        ({"budget": 1.0}, "PrivateMean.budget=1.0: must be a PrivacyBudget"),
        ({"accountant": 1.0}, "PrivateMean.accountant=1.0: must be a Accountant"),
    ],
)
def test_settings_that_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        PrivateMean(**{"noise": 1.0, "max_norm": 1.0, **settings})


@pytest.mark.parametrize("initial", [0.1, 50.0])
def test_the_norm_finds_the_quantile_through_the_noise(initial):
    """100 agents with norms 1 to 100: half of them stay below about 50, from far below or above."""
    rule = PrivateAdaptiveMean(noise=0.5, max_norm=initial, quantile=0.5)
    deltas = [torch.tensor([float(norm), 0.0]) for norm in range(1, 101)]
    names = [str(number) for number in range(100)]
    state, seen = None, []
    for seed in range(120):
        _, state = merged(rule, deltas, names=names, state=state, seed=seed)
        seen.append(state["clip_norm"])
    assert 40 < sum(seen[-20:]) / 20 < 60


def test_noise_on_deltas_and_count_together_cost_what_noise_says():
    """1 / noise^2 = 1 / noise_delta^2 + 1 / (2 noise_count)^2, with 100 / 20 = 5 on the count of 100."""
    rule = PrivateAdaptiveMean(noise=2.0, max_norm=1.0)
    deltas = [torch.zeros(SIZE)] * 100
    names = [str(number) for number in range(100)]
    update, _ = merged(rule, deltas, names=names)
    expected = (1 / 4 - 1 / 100) ** -0.5
    assert float(update.vectors["delta"].std()) == pytest.approx(expected / 100, rel=4 / math.sqrt(2 * SIZE))
    assert update.scalars["rule_epsilon"] == pytest.approx(RDP().epsilon(2.0, 1.0, 1, 1e-5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantile": 1.1}, r"PrivateAdaptiveMean.quantile=1.1: must be in \[0, 1\]"),
        ({"lr": 0.0}, "PrivateAdaptiveMean.lr=0.0: must be > 0"),
        ({"max_norm": 0.0}, "PrivateAdaptiveMean.max_norm=0.0: must be > 0"),
    ],
)
def test_adaptive_settings_that_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        PrivateAdaptiveMean(**{"noise": 1.0, **settings})
