"""Sums in fixed point: by hand, against fractions, and the known-bad float sum beside them."""

from fractions import Fraction

import pytest
import torch

from raycollab.aggregation import ExactSum, Mean, WeightedSum, add_up
from raycollab.errors import UpdateError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def updates(n=40, size=200):
    generator = torch.Generator().manual_seed(0)
    return [
        Update(
            f"a{i}",
            1.0 + i % 7,
            {"delta": torch.randn(size, generator=generator) * 10 ** (i % 5 - 3)},
            {"loss": 0.1 * i},
        )
        for i in range(n)
    ]


def grouped(kind, given, groups):
    """The mean of updates that are first summed in so many groups of neighbours."""
    size = -(-len(given) // groups)
    partials = [add_up(kind.of(update) for update in given[at : at + size]) for at in range(0, len(given), size)]
    return add_up(partials).mean()


def test_by_hand():
    """(1 * 0.5 + 3 * -0.25) / 4 = -0.0625."""
    total = ExactSum.of(Update("a", 1.0, {"delta": torch.tensor([0.5])}, {"loss": 1.0}))
    total = total + ExactSum.of(Update("b", 3.0, {"delta": torch.tensor([-0.25])}, {"loss": 2.0}))
    merged = total.mean()
    assert merged.vectors["delta"].tolist() == [-0.0625]
    assert (merged.weight, merged.scalars, total.count) == (4.0, {"loss": 1.75}, 2)
    assert merged.vectors["delta"].dtype == torch.float32


def test_no_grouping_and_no_order_changes_a_bit_where_floats_do():
    given = updates()
    exact = [grouped(ExactSum, given, groups) for groups in (1, 3, 8, 40)]
    exact.append(grouped(ExactSum, given[::-1], 5))
    assert all(torch.equal(exact[0].vectors["delta"], other.vectors["delta"]) for other in exact[1:])
    assert len({other.scalars["loss"] for other in exact}) == 1
    floats = [grouped(WeightedSum, given, groups).vectors["delta"] for groups in (1, 3, 8)]
    assert not all(torch.equal(floats[0], other) for other in floats[1:])


def test_the_error_is_within_what_is_promised():
    """n / W * 2**-37 from fixed point, and half a unit in the last place of float32."""
    given = updates()
    found = grouped(ExactSum, given, 8).vectors["delta"]
    weight = sum(Fraction(update.weight) for update in given)
    for place in range(0, 200, 17):
        true = (
            sum(Fraction(update.weight) * Fraction(float(update.vectors["delta"][place])) for update in given) / weight
        )
        bound = len(given) / float(weight) * 2.0**-37 + abs(float(true)) * 2.0**-24
        assert abs(float(found[place]) - float(true)) <= bound


def test_parts_of_a_vector_are_divided_by_the_weight_that_arrived_for_them():
    half = Coverage(Segments(4, ((0, 2),)), Segments.all(0))
    whole = Update("a", 1.0, {"delta": torch.tensor([1.0, 1.0, 1.0, 1.0])})
    part = Update("b", 3.0, {"delta": torch.tensor([5.0, 5.0])}, coverage=half)
    assert (ExactSum.of(whole) + ExactSum.of(part)).mean().vectors["delta"].tolist() == [4.0, 4.0, 1.0, 1.0]
    assert ExactSum.of(part).mean().vectors["delta"].tolist() == [5.0, 5.0, 0.0, 0.0]


@pytest.mark.parametrize("value", [2.0**27, 1e30])
def test_what_leaves_the_range_is_refused(value):
    total = ExactSum.of(Update("a", 1.0, {"delta": torch.tensor([value])}))
    with pytest.raises(
        UpdateError, match=r"Mean\(exact=True\): weight times 'delta' sums up to 2\*\*27 = 1.3e8 or more"
    ):
        total.check()
    ExactSum.of(Update("a", 1.0, {"delta": torch.tensor([2.0**26])})).check()
    with pytest.raises(UpdateError, match="the weights of 1 updates sum to 0"):
        ExactSum.of(Update("a", 0.0, {"delta": torch.tensor([1.0])})).mean()


def test_adding_changes_neither_of_both():
    one, other = (ExactSum.of(Update("a", 1.0, {"delta": torch.tensor([value])})) for value in (1.0, 2.0))
    total = one + other
    total += one
    assert total.mean().vectors["delta"].tolist() == pytest.approx([4 / 3])
    assert one.mean().vectors["delta"].tolist() == [1.0]
    assert other.mean().vectors["delta"].tolist() == [2.0]


def test_the_mean_of_an_exact_sum_is_the_mean():
    given = updates(8)
    exact, plain = (
        rule.update(add_up(rule.collect(update, ROUND) for update in given), {}, torch.zeros(200), seed=0)[0]
        for rule in (Mean(exact=True), Mean())
    )
    torch.testing.assert_close(exact.vectors["delta"], plain.vectors["delta"], rtol=1e-5, atol=1e-9)
    assert Mean(exact=True).collect(given[0], ROUND).count == 1
    with pytest.raises(UpdateError, match="the weights of 1 updates sum to 0"):
        Mean(exact=True).check(ExactSum.of(Update("a", 0.0, {})))
