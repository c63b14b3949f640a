import itertools

import pytest
import torch

from raycollab.aggregation import Stack, WeightedSum, add_up
from raycollab.errors import UpdateError
from raycollab.spec import BUFFERS, DELTA, Coverage, Segments
from raycollab.types import Update


def update(weight=1.0, agent="a", coverage=None, discount=1.0, scalars=None, **vectors):
    made = {name: torch.tensor(values) for name, values in vectors.items()}
    return Update(agent, weight, made, scalars or {}, coverage=coverage, discount=discount)


def mean(*updates):
    return add_up(WeightedSum.of(each) for each in updates).mean()


def covers(*ranges, size=3):
    return Coverage(Segments(size, ranges), Segments.all(0))


def test_weighted_mean_by_hand():
    merged = mean(update(1.0, delta=[0.0, 4.0]), update(3.0, delta=[4.0, 0.0]))
    assert merged.vectors[DELTA].tolist() == [3.0, 1.0]
    assert merged.weight == 4.0


@pytest.mark.parametrize("weights", [(0.0, 2.0, 0.0), (1e-300, 1.0, 1e30), (1e250, 1e-250, 1e249), (0.0, 0.0, 1e-40)])
def test_weights_of_any_size(weights):
    """In every order, and whoever is added up first: no ratio of theirs overflows, and 0 counts for nothing."""
    values = [[1.0, -2.0], [3.0, 5.0], [-7.0, 11.0]]
    exact = sum(torch.tensor(value).double() * weight for value, weight in zip(values, weights, strict=True)) / sum(
        weights
    )
    for order in itertools.permutations(range(3)):
        a, b, c = (WeightedSum.of(update(weights[index], delta=values[index])) for index in order)
        totals = [(a + b) + c, a + (b + c), add_up((a, b, c)), WeightedSum.total((a, (b, c)))]
        for total in totals:
            torch.testing.assert_close(total.mean().vectors[DELTA], exact.float())


def test_a_discount_shortens_the_weight():
    merged = mean(update(1.0, delta=[0.0]), update(2.0, discount=0.5, delta=[4.0]))
    assert merged.vectors[DELTA].tolist() == [2.0]
    assert merged.weight == 2.0


def test_each_vector_is_divided_by_the_weight_that_arrived_for_it():
    """Only one of the two agents sends a control: it is not diluted by the weight of the other, in either order."""
    pair = [update(1.0, delta=[2.0], control=[6.0]), update(3.0, delta=[6.0])]
    for updates in (pair, pair[::-1]):
        merged = mean(*updates)
        assert merged.vectors[DELTA].tolist() == pytest.approx([5.0])
        assert merged.vectors["control"].tolist() == [6.0]


def test_each_scalar_is_divided_by_the_weight_that_arrived_for_it():
    merged = mean(
        update(1.0, scalars={"loss": 1.0, "steps": 4.0}, delta=[0.0]), update(3.0, scalars={"loss": 5.0}, delta=[0.0])
    )
    assert merged.scalars == {"loss": 4.0, "steps": 4.0}


def test_each_element_is_divided_by_the_weight_that_arrived_for_it():
    """Elements 0 and 2 come from two agents of weight 1 and 3, element 1 from the first alone."""
    merged = mean(update(1.0, delta=[4.0, 5.0, 8.0]), update(3.0, coverage=covers((2, 3), (0, 1)), delta=[4.0, 0.0]))
    assert merged.vectors[DELTA].tolist() == [1.0, 5.0, 5.0]


def test_elements_that_nobody_sent_stay_at_zero():
    assert mean(update(2.0, coverage=covers((1, 2)), delta=[7.0])).vectors[DELTA].tolist() == [0.0, 7.0, 0.0]
    both = mean(update(coverage=covers((0, 1)), delta=[1.0]), update(coverage=covers((2, 3)), delta=[3.0]))
    assert both.vectors[DELTA].tolist() == [1.0, 0.0, 3.0]


def test_buffers_have_their_own_coverage():
    coverage = Coverage(Segments(3, ((0, 1),)), Segments(2, ((1, 2),)))
    merged = mean(update(coverage=coverage, delta=[1.0], buffers=[5.0]))
    assert merged.vectors[DELTA].tolist() == [1.0, 0.0, 0.0]
    assert merged.vectors[BUFFERS].tolist() == [0.0, 5.0]


def test_a_weight_of_zero_counts_for_nothing():
    assert mean(update(0.0, delta=[9.0]), update(2.0, delta=[1.0])).vectors[DELTA].tolist() == [1.0]
    with pytest.raises(UpdateError, match=r"the weights of 2 updates sum to 0.0: at least one must be positive"):
        mean(update(0.0, delta=[9.0]), update(0.0, delta=[1.0]))


def test_a_part_of_zero_weight_leaves_no_nan():
    merged = mean(update(0.0, delta=[1.0], control=[5.0]), update(1.0, delta=[3.0]))
    assert merged.vectors[DELTA].tolist() == [3.0]
    assert merged.vectors["control"].tolist() == [0.0]
    part = mean(update(0.0, coverage=covers((0, 1)), delta=[1.0]), update(1.0, coverage=covers((1, 2)), delta=[3.0]))
    assert part.vectors[DELTA].tolist() == [0.0, 3.0, 0.0]


def test_sums_are_float32_whatever_arrives():
    partial = WeightedSum.of(Update("a", 3.0, {DELTA: torch.ones(2, dtype=torch.bfloat16)}))
    assert partial.mean().vectors[DELTA].dtype == torch.float32


@pytest.mark.parametrize("kind", [WeightedSum, Stack])
def test_adding_up_changes_no_argument(kind):
    updates = [update(2.0, delta=[1.0, 2.0]), update(1.0, delta=[3.0, 4.0]), update(1.0, delta=[5.0, 6.0])]
    partials = [kind.of(each) for each in updates]
    before = repr(partials)
    first, again = add_up(partials), add_up(partials)
    assert repr(partials) == before
    assert repr(first) == repr(again)
    assert [each.vectors[DELTA].tolist() for each in updates] == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("kind", [WeightedSum, Stack])
def test_the_total_shares_no_memory_that_it_writes(kind):
    """The first addition makes a new value, so the partials that came off the wire, read-only, are never written."""
    one, other, third = (kind.of(update(delta=[value])) for value in (1.0, 2.0, 3.0))
    total = one + other
    total += third
    assert repr(one) == repr(kind.of(update(delta=[1.0])))
    assert repr(other) == repr(kind.of(update(delta=[2.0])))
    assert total.count == 3


def test_adding_up_nothing_and_one():
    assert add_up([]) is None
    one = WeightedSum.of(update(delta=[1.0]))
    assert add_up([one]) is one


def test_stack_rows_are_in_order():
    stack = add_up(Stack.of(update(weight, agent=name, delta=[weight])) for name, weight in (("b", 2.0), ("a", 1.0)))
    assert [row.tolist() for row in stack.vectors(DELTA)] == [[2.0], [1.0]]
    assert stack.count == 2
    assert [each.agent for each in stack.updates] == ["b", "a"]


def test_stack_names_what_every_update_brought():
    stack = Stack.of(update(delta=[1.0], buffers=[1.0], x=[1.0])) + Stack.of(update(buffers=[1.0], delta=[1.0]))
    assert stack.names() == ["buffers", "delta"]


def test_stack_refuses_parts_of_a_model():
    stack = Stack.of(update(delta=[1.0, 2.0, 3.0])) + Stack.of(update(agent="b", coverage=covers((0, 1)), delta=[1.0]))
    with pytest.raises(
        UpdateError, match=r"agents \['b'\] exchange only a part of the model; a rule over whole vectors"
    ):
        stack.vectors(DELTA)


def test_shares_of_a_stack_are_its_weights_over_their_sum():
    stack = add_up(
        Stack.of(update(weight, discount=discount, delta=[1.0])) for weight, discount in ((3.0, 1), (2, 0.5))
    )
    assert stack.shares().tolist() == [0.75, 0.25]
    with pytest.raises(UpdateError, match=r"the weights of 2 updates sum to 0: at least one must be positive"):
        (Stack.of(update(0.0, delta=[1.0])) + Stack.of(update(0.0, delta=[1.0]))).shares()
