import pytest
import torch

from raycollab.aggregation import Product, Stack, WeightedSum, add_up
from raycollab.runtime.wire import pack, unpack
from raycollab.types import Update


def of(name, value, *groups):
    """One update's partial: "sum" is a WeightedSum, "rows" a Stack."""
    update = Update(name, 1.0, {"delta": torch.tensor([value])})
    kinds = {"sum": WeightedSum, "rows": Stack}
    return Product(1, {group: kinds[group].of(update) for group in groups})


BOTH, ROWS, SUM = of("a", 1.0, "sum", "rows"), of("b", 2.0, "rows"), of("c", 4.0, "sum")


def read(total):
    """Count, the sum, and the rows."""
    sums, rows = total.parts["sum"], total.parts["rows"]
    return total.count, float(sums.vectors["delta"][None].vector), [float(row) for row in rows.vectors("delta")]


def test_each_rule_gets_its_own():
    assert read(add_up([BOTH, ROWS, SUM])) == (3, 5.0, [1.0, 2.0])
    assert read(add_up([ROWS, SUM, BOTH])) == (3, 5.0, [2.0, 1.0])


def test_any_grouping_is_the_same():
    assert read(BOTH + (ROWS + SUM)) == read((BOTH + ROWS) + SUM) == read(add_up([BOTH, ROWS, SUM]))


def test_it_adds_to_no_tensor_that_is_not_its_own():
    """Also where a rule's first partial comes late, and is read-only off the wire."""
    partials = [unpack(pack(each)) for each in (ROWS, SUM, BOTH, of("d", 8.0, "sum"))]
    before = repr(partials)
    assert read(add_up(partials)) == (4, 13.0, [2.0, 1.0])
    assert repr(partials) == before
    late = ROWS + ROWS
    late += SUM
    late += BOTH
    assert float(SUM.parts["sum"].vectors["delta"][None].vector) == 4.0


def test_an_update_of_no_group_only_counts():
    none = Product.of(Update("e", 1.0, {}))
    assert (none.count, none.parts) == (1, {})
    assert read(BOTH + none) == (2, 1.0, [1.0])


def test_what_comes_late_keeps_its_weight():
    """Weighted vectors that no sum has multiplied out: 3 * 1 + 5 * 2 of a weight of 8, and not 3 * (1 + 5 * 2)."""

    def weighing(weight, value):
        return Product(1, {"sum": WeightedSum.of(Update("a", weight, {"delta": torch.tensor([value])}))})

    late = ROWS + ROWS
    late += weighing(3.0, 1.0)
    late += weighing(5.0, 2.0)
    assert late.parts["sum"].mean().vectors["delta"].item() == pytest.approx(13 / 8)
