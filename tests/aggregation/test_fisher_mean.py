import pytest
import torch

from raycollab.aggregation import FisherMean, Mean, add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

ROUND = Round(2, 0, 1, {})


def of(name, weight, delta, fisher, **settings):
    vectors = {"delta": torch.tensor(delta), "fisher": torch.tensor(fisher)}
    return Update(name, weight, {**vectors, "buffers": torch.tensor([weight])}, **settings)


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, torch.zeros(2), seed=0)[0].vectors


def test_by_hand():
    """Weights 1 and 2: (1 * 1 * 1 + 2 * 3 * 5) / (1 + 6), (3 + 2 * 5) / (3 + 2); buffers by weight: (1 + 4) / 3."""
    found = merged(FisherMean(), of("a", 1.0, [1.0, 1.0], [1.0, 3.0]), of("b", 2.0, [5.0, 5.0], [3.0, 1.0]))
    torch.testing.assert_close(found["delta"], torch.tensor([31 / 7, 13 / 5]))
    torch.testing.assert_close(found["buffers"], torch.tensor([5 / 3]))
    assert set(found) == {"delta", "buffers"}


@pytest.mark.parametrize("fisher", [0.0, -1.0, 0.3])
def test_where_all_know_alike_it_is_the_mean(fisher):
    """Also where nobody knows anything, or claims to know less than that."""
    updates = [of("a", 1.0, [1.0, 2.0], [fisher] * 2), of("b", 3.0, [5.0, 8.0], [fisher] * 2)]
    torch.testing.assert_close(merged(FisherMean(), *updates)["delta"], merged(Mean(), *updates)["delta"])


def test_who_knows_decides():
    found = merged(FisherMean(), of("a", 1.0, [1.0, 1.0], [1.0, 0.0]), of("b", 1.0, [5.0, 5.0], [0.0, 1.0]))
    torch.testing.assert_close(found["delta"], torch.tensor([1.0, 5.0]), rtol=1e-5, atol=1e-5)


def test_elements_are_divided_by_what_arrived_for_them():
    """The second agent holds element 1 alone; element 0 that nobody holds stays at zero."""
    part = Coverage(Segments(2, ((1, 2),)), Segments.all(1))
    some = of("b", 1.0, [5.0], [3.0], coverage=part)
    assert merged(FisherMean(), of("a", 1.0, [4.0, 1.0], [2.0, 1.0]), some)["delta"].tolist() == [4.0, 4.0]
    assert merged(FisherMean(), some)["delta"].tolist() == [0.0, 5.0]


def test_a_product_that_would_spoil_the_sum_costs_only_its_agent():
    with pytest.raises(
        UpdateError, match=r"agent 'a' round 2: delta times fisher has norm 1e\+35 and weight 1; it is kept out"
    ):
        FisherMean().collect(of("a", 1.0, [1e15, 0.0], [1e20, 0.0]), ROUND)


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"FisherMean\.floor=0\.0: must be > 0"):
        FisherMean(floor=0.0)
