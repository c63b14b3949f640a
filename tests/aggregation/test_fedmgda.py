import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from raycollab.aggregation import FedMGDA, add_up
from raycollab.aggregation.fedmgda import shortest
from raycollab.errors import ConfigError, UpdateError
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def merged(rule, *rows, weights=None, **vectors):
    weights = weights or [1.0] * len(rows)
    updates = [
        Update(str(i), weights[i], {"delta": torch.tensor(row), **{name: v[i] for name, v in vectors.items()}})
        for i, row in enumerate(rows)
    ]
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, torch.zeros(2), seed=0)[0].vectors


def test_two_directions_by_hand():
    """Lengths count for nothing: [4, 0] and [0, .1] have the directions [1, 0] and [0, 1], whose nearest point is the
    middle; buffers are mixed by the same halves, as they are."""
    found = merged(FedMGDA(), [4.0, 0.0], [0.0, 0.1], buffers=torch.tensor([[2.0], [4.0]]))
    torch.testing.assert_close(found["delta"], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(found["buffers"], torch.tensor([3.0]))


def test_weights_within_epsilon_by_hand():
    """Shares (.75, .25) of the weights may come as near to the halves as epsilon = .1 lets them: (.65, .35)."""
    rows = ([1.0, 0.0], [0.0, 1.0])
    for epsilon, shares in ((0.0, [0.75, 0.25]), (0.1, [0.65, 0.35]), (0.3, [0.5, 0.5])):
        found = merged(FedMGDA(epsilon=epsilon, lr=2.0), *rows, weights=[3.0, 1.0])["delta"]
        torch.testing.assert_close(found, 2.0 * torch.tensor(shares))


def test_the_step_hurts_nobody():
    """Inner products with all directions are at least the square of its length; the mean's are not."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 40, generator=generator) + torch.linspace(0, 1, 40)
    rows[0] *= -0.2
    directions = rows / rows.norm(dim=1, keepdim=True)
    found = merged(FedMGDA(), *rows.tolist())["delta"]
    assert (directions @ found).min() >= found.square().sum() - 1e-5
    assert found.norm() > 0.05
    assert (directions @ directions.mean(0)).min() < 0


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("common", [0.0, 3.0])
def test_agrees_with_scipy(epsilon, common):
    rows = torch.randn(12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + common
    rows /= rows.norm(dim=1, keepdim=True)
    gram, start = rows @ rows.T, torch.arange(1.0, 13.0, dtype=torch.float64)
    start /= start.sum()
    found = shortest(gram, start, epsilon)
    limits = [(max(s - epsilon, 0.0), min(s + epsilon, 1.0)) for s in start.tolist()]
    reference = minimize(
        lambda s: s @ gram.numpy() @ s,
        start.numpy(),
        jac=lambda s: 2 * gram.numpy() @ s,
        bounds=limits,
        constraints={"type": "eq", "fun": lambda s: s.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert float(found @ gram @ found) == pytest.approx(reference.fun, rel=1e-5)
    assert float(found.sum()) == pytest.approx(1.0)
    assert all(low - 1e-9 <= s <= high + 1e-9 for s, (low, high) in zip(found.tolist(), limits, strict=True))
    assert np.allclose(found.numpy(), reference.x, atol=1e-3)


@pytest.mark.parametrize("rows", [([1.0, 0.0], [-3.0, 0.0], [0.0, 1.0]), ([1.0, 1.0], [0.0, 0.0])], ids=repr)
def test_opposite_or_absent_directions_stop_everybody(rows):
    torch.testing.assert_close(merged(FedMGDA(), *rows)["delta"], torch.zeros(2), rtol=0, atol=1e-5)


def test_one_direction_of_all_is_that_direction():
    torch.testing.assert_close(merged(FedMGDA(lr=0.5), *[[3.0, 4.0]] * 5)["delta"], torch.tensor([0.3, 0.4]))


def test_copies_count_as_weights_where_these_are_kept_or_limit_nothing():
    rows = torch.randn(3, 20, generator=torch.Generator().manual_seed(2)).tolist()
    for rule in (FedMGDA(epsilon=0.0), FedMGDA(epsilon=0.1), FedMGDA()):
        copies, weights = merged(rule, rows[0], *rows)["delta"], merged(rule, *rows, weights=[2.0, 1.0, 1.0])["delta"]
        assert torch.allclose(copies, weights, rtol=1e-4, atol=1e-5) == ("weights" in rule.laws)


def test_nobody_with_weight_took_part():
    with pytest.raises(UpdateError, match="the weights of 2 updates sum to 0: at least one must be positive"):
        merged(FedMGDA(), [1.0, 0.0], [0.0, 1.0], weights=[0.0, 0.0])


def test_that_nobody_with_weight_took_part_is_known_before_the_round_is_accepted():
    """So that the driver asks again; an error in the merge would end the run."""
    one, nobody = (FedMGDA().collect(Update("a", w, {"delta": torch.ones(2)}), ROUND) for w in (1.0, 0.0))
    FedMGDA().check(one + nobody)
    with pytest.raises(UpdateError, match="the weights of 2 updates sum to 0: at least one must be positive"):
        FedMGDA().check(nobody + nobody)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 1.5}, r"FedMGDA\.epsilon=1\.5: must be in \[0, 1\]; 0 keeps the weights"),
        ({"epsilon": -0.1}, r"FedMGDA\.epsilon=-0\.1: must be in \[0, 1\]"),
        ({"lr": 0.0}, r"FedMGDA\.lr=0\.0: must be > 0"),
        ({"chunk_bytes": 1}, r"FedMGDA\.chunk_bytes=1: must be >= 4096"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FedMGDA(**settings)
