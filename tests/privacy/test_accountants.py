"""Accountants against opacus' own figures, hand-computed cases, and each other."""

import math

import pytest

import raycollab as rc
from raycollab.privacy import PRV, RDP, PrivacyBudget, party_level, spent_more
from raycollab.privacy import library as library_module

BATCH, EXAMPLES = 256, 60_000
PUBLISHED = [(1.3, 15, 0.954, 0.874), (1.1, 60, 2.597, 2.392), (0.7, 45, 6.318, 5.650)]


@pytest.mark.parametrize(("noise", "epochs", "rdp", "prv"), PUBLISHED)
def test_epsilon_of_the_settings_that_papers_quote(noise, epochs, rdp, prv):
    """Within 1 % of opacus 1.6 for batches of 256 of 60,000 and delta 1e-5."""
    told = {"noise": noise, "sample_rate": BATCH / EXAMPLES, "steps": epochs * EXAMPLES // BATCH, "delta": 1e-5}
    assert RDP().epsilon(**told) == pytest.approx(rdp, rel=0.01)
    assert PRV().epsilon(**told) == pytest.approx(prv, rel=0.01)


def test_one_answer_to_everybody_is_the_gaussian_mechanism():
    """Order a of one answer with noise s costs a / (2 s^2), and the least over a of the conversion is epsilon."""
    noise, delta = 2.0, 1e-5
    by_order = [
        a / (2 * noise**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in (1 + k / 1000 for k in range(1, 60_000))
    ]
    assert RDP().epsilon(noise, 1.0, 1, delta) == pytest.approx(min(by_order), rel=1e-3)


@pytest.mark.parametrize("accountant", [RDP(), PRV()])
def test_more_answers_less_noise_and_larger_samples_cost_more(accountant):
    base = accountant.epsilon(1.0, 0.01, 100, 1e-5)
    assert accountant.epsilon(1.0, 0.01, 200, 1e-5) > base
    assert accountant.epsilon(0.9, 0.01, 100, 1e-5) > base
    assert accountant.epsilon(1.0, 0.02, 100, 1e-5) > base
    assert accountant.epsilon(1.0, 0.01, 100, 1e-6) > base


@pytest.mark.parametrize("accountant", [RDP(), PRV()])
def test_what_tells_nothing_and_what_tells_all(accountant):
    assert accountant.epsilon(1.0, 0.01, 0, 1e-5) == 0
    assert accountant.epsilon(1.0, 0.0, 100, 1e-5) == 0
    assert accountant.epsilon(0.0, 0.01, 1, 1e-5) == math.inf


@pytest.mark.parametrize("accountant", [RDP(), PRV()])
def test_a_history_in_pieces_is_the_whole(accountant):
    one = accountant.composed([(1.0, 0.01, 60), (1.0, 0.01, 40)], 1e-5)
    assert one == pytest.approx(accountant.epsilon(1.0, 0.01, 100, 1e-5), rel=0.02)
    mixed = accountant.composed([(1.0, 0.01, 60), (2.0, 0.02, 40)], 1e-5)
    assert mixed > accountant.epsilon(1.0, 0.01, 60, 1e-5)


def test_histories_are_new_lists():
    before = [[1.0, 0.1, 3]]
    assert spent_more(before, 1.0, 0.1, 2) == [[1.0, 0.1, 5]]
    assert spent_more(before, 2.0, 0.1, 2) == [[1.0, 0.1, 3], [2.0, 0.1, 2]]
    assert before == [[1.0, 0.1, 3]]


def test_a_sample_of_fixed_size_counts_at_half_the_noise():
    assert party_level(1.0, 1.0) == (1.0, 1.0)
    assert party_level(1.0, 0.1) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((-1.0, 0.1, 1, 1e-5), "RDP: noise=-1.0: must be >= 0"),
        ((1.0, 1.1, 1, 1e-5), r"RDP: sample_rate=1.1: must be in \[0, 1\]"),
        ((1.0, 0.1, -1, 1e-5), "RDP: steps=-1: must be >= 0"),
        ((1.0, 0.1, 1, 1.0), r"RDP: delta=1.0: must be in \(0, 1\)"),
    ],
)
def test_values_outside_their_range(told, words):
    with pytest.raises(rc.ConfigError, match=words):
        RDP().epsilon(*told)


def test_budgets_are_checked():
    with pytest.raises(rc.ConfigError, match=r"PrivacyBudget.epsilon=0: must be > 0"):
        PrivacyBudget(epsilon=0)
    with pytest.raises(rc.ConfigError, match=r"PrivacyBudget.delta=1.0: must be in \(0, 1\)"):
        PrivacyBudget(delta=1.0)
    with pytest.raises(rc.ConfigError, match=r"PRV.error=0.0: must be > 0"):
        PRV(error=0.0)
    PrivacyBudget(delta=1e-3).check_size(999, "examples")
    with pytest.raises(rc.ConfigError, match=r"PrivacyBudget.delta=0.001: must be < 1/n of 1000 examples, 0.001; such"):
        PrivacyBudget(delta=1e-3).check_size(1000, "examples")


def test_without_opacus_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(library_module, "find_spec", lambda name: None)
    with pytest.raises(rc.ConfigError, match=r"opacus, which is not installed: pip install 'raycollab\[trust\]'"):
        RDP().epsilon(1.234, 0.01, 100, 1e-5)
