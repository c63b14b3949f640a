import pytest
import torch

from raycollab.aggregation import Mean, QFedAvg, add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

ROUND = Round(3, 0, 2, {})


def of(name, loss, *values, weight=1.0, **settings):
    return Update(name, weight, {"delta": torch.tensor(values)}, {"start_loss": loss}, **settings)


def merged(rule, *updates):
    params = torch.zeros(2)
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, rule.init(params), params, seed=0)[0].vectors["delta"]


def test_by_hand():
    """q = 1, L = 2. a: F = 2, Delta = 2 * 2 * [1, 0], h = 4 * 1 + 2 * 2 = 8; b: F = 1, Delta = [0, 4], h = 16 + 2."""
    found = merged(QFedAvg(q=1.0, lr=0.5), of("a", 2.0, 1.0, 0.0), of("b", 1.0, 0.0, 2.0, weight=9.0))
    torch.testing.assert_close(found, torch.tensor([4.0, 4.0]) / 26)


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0, 5.0])
def test_agrees_with_algorithm_2(q):
    """Sum of F^q * L * delta over the sum of q * F^(q - 1) * |L * delta|^2 + L * F^q, as the paper writes it."""
    generator = torch.Generator().manual_seed(0)
    rows, losses, lr = torch.randn(4, 2, generator=generator).double(), [0.3, 1.0, 2.0, 0.01], 0.2
    steps = rows / lr
    above = sum(loss**q * step for loss, step in zip(losses, steps, strict=True))
    below = sum(
        q * loss ** (q - 1) * float(step.square().sum()) + loss**q / lr
        for loss, step in zip(losses, steps, strict=True)
    )
    updates = [of(str(i), loss, *row.tolist()) for i, (loss, row) in enumerate(zip(losses, rows, strict=True))]
    torch.testing.assert_close(merged(QFedAvg(q, lr), *updates), (above / below).float(), rtol=1e-5, atol=1e-7)


def test_without_fairness_it_is_the_uniform_mean():
    updates = [of("a", 5.0, 1.0, 2.0, weight=3.0), of("b", 0.1, 5.0, 8.0)]
    torch.testing.assert_close(merged(QFedAvg(0.0, 0.1), *updates), merged(Mean("uniform"), *updates))
    assert QFedAvg(0.0, 0.1).laws == Mean("uniform").laws


def test_a_larger_loss_pulls_harder_the_larger_q():
    """Steps of equal length: the share of the first agent, of the larger loss, grows with q."""
    shares = []
    for q in (0.0, 1.0, 4.0):
        x, y = merged(QFedAvg(q, 0.1), of("a", 2.0, 1.0, 0.0), of("b", 1.0, 0.0, 1.0)).tolist()
        shares.append(x / (x + y))
    assert shares == pytest.approx([1 / 2, 2 / 3, 16 / 17])


def test_elements_are_divided_by_what_arrived_for_them():
    """Element 1 comes from the first agent alone: that agent's own step, as if there were no other."""
    part = Coverage(Segments(2, ((0, 1),)), Segments.all(0))
    first, second = of("a", 2.0, 1.0, 1.0), of("b", 1.0, 3.0, coverage=part)
    rule = QFedAvg(1.0, 0.5)
    found = merged(rule, first, second)
    torch.testing.assert_close(found[1], merged(rule, first)[1])
    torch.testing.assert_close(found[0], merged(rule, of("a", 2.0, 1.0, 1.0), of("b", 1.0, 3.0, 0.0))[0])


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0, 2.0])
def test_a_loss_of_zero_leaves_no_nan(q):
    assert torch.isfinite(merged(QFedAvg(q, 0.1), of("a", 0.0, 1.0, 1.0), of("b", 1.0, 1.0, 2.0))).all()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (-0.5, r"agent 'a' round 3: start_loss -0.5 is negative: QFedAvg takes powers of losses, which must be >= 0"),
    ],
)
def test_a_negative_loss_costs_only_its_agent(loss, message):
    with pytest.raises(UpdateError, match=message):
        QFedAvg(5.0, 0.1).collect(of("a", loss, 3.0, 4.0), ROUND)


@pytest.mark.parametrize("loss", [3e-5, 1e-9, 1e10, 1e200])
@pytest.mark.parametrize("q", [0.5, 5.0, 10.0])
def test_losses_of_any_size_keep_the_step(q, loss):
    """L F^q is beyond float32 for most of these; b's loss is twice that of a: h_b = 2^q h_a where deltas are short.

    An agent whose loss is a tenth adds 10^-q as much, in any order of the sum.
    """
    a, b, c = of("a", loss, 1e-9, 0.0), of("b", 2 * loss, 0.0, 1e-9), of("c", loss / 10, 0.0, 0.0)
    shares = torch.tensor([1.0, 2.0**q]) / (1 + 2.0**q + 0.1**q) * 1e-9
    if loss > 1e-9:
        for some in ([a, b, c], [c, b, a], [b, a, c]):
            torch.testing.assert_close(merged(QFedAvg(q, 0.1), *some), shares, rtol=1e-4, atol=0)
    torch.testing.assert_close(merged(QFedAvg(q, 0.1), a, a), torch.tensor([1e-9, 0.0]), rtol=1e-4, atol=0)


def test_a_sum_of_scaled_sums_changes_neither_and_starts_at_nothing():
    rule = QFedAvg(5.0, 0.1)
    small, large = (rule.collect(of("a", loss, 1.0, 2.0), ROUND) for loss in (1e-4, 1e3))
    before = repr((small, large))
    both = small + large
    assert repr((small, large)) == before
    assert both.count == 2
    assert both.log_scale == large.log_scale
    torch.testing.assert_close((type(small)() + small).mean().vectors["delta"], small.mean().vectors["delta"])
    assert (type(small)() + type(small)()).count == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q": -1.0, "lr": 0.1}, r"QFedAvg\.q=-1\.0: must be >= 0 and finite; 0 is the uniform mean"),
        ({"q": 1.0, "lr": 0.0}, r"QFedAvg\.lr=0\.0: must be > 0 and finite; take the agents' learning rate"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        QFedAvg(**settings)
