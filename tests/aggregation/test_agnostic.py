import pytest
import torch

from raycollab.aggregation import AgnosticFL, Mean, add_up
from raycollab.aggregation.agnostic import project
from raycollab.errors import ConfigError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

PARAMS = torch.zeros(2)


def of(name, loss, *values, **settings):
    return Update(name, 7.0, {"delta": torch.tensor(values)}, {"start_loss": loss}, **settings)


def play(rule, state, *updates):
    """One round: what the rule tells, collects and merges."""
    round = Round(1, 0, 0, {}, rule.tells(state))
    total = add_up(rule.collect(update, round) for update in updates)
    update, state = rule.update(total, state, PARAMS, seed=0)
    return update.vectors["delta"].tolist(), state


def test_three_rounds_by_hand():
    """Shares as multiples of the uniform one.

    Round 1: (2 + 4) / 2; lambda = (.5 + .1, .5 + .3) less .2 = (.4, .6). Round 2: .4 * 2 + .6 * 4 = 3.2; no losses, so
    lambda stays. Round 3: c is new and joins as 1 of (.8, 1.2, 1): (2 * .8 + 5) / 1.8 of a and c.
    """
    rule = AgnosticFL(lr=0.1)
    found, state = play(rule, rule.init(PARAMS), of("a", 1.0, 2.0, 0.0), of("b", 3.0, 4.0, 0.0))
    assert found == pytest.approx([3.0, 0.0])
    assert state["shares"] == pytest.approx({"a": 0.8, "b": 1.2})
    assert rule.tells(state) == pytest.approx({"lambda/a": 0.8, "lambda/b": 1.2})
    found, state = play(rule, state, of("b", 0.0, 4.0, 0.0), of("a", 0.0, 2.0, 0.0))
    assert found == pytest.approx([3.2, 0.0])
    assert state["shares"] == pytest.approx({"a": 0.8, "b": 1.2})
    found, state = play(rule, state, of("a", 0.0, 2.0, 0.0), of("c", 0.0, 5.0, 0.0))
    assert found == pytest.approx([6.6 / 1.8, 0.0])
    assert state["shares"] == pytest.approx({"a": 0.8, "b": 1.2, "c": 1.0})


def test_an_agent_without_a_share_moves_lambda_alone_and_comes_back():
    rule = AgnosticFL(lr=1.0)
    _, state = play(rule, rule.init(PARAMS), of("a", 0.0, 1.0, 1.0), of("b", 5.0, 1.0, 1.0))
    assert state["shares"] == {"a": 0.0, "b": 2.0}
    found, state = play(rule, state, of("a", 0.5, 9.0, 9.0))
    assert found == [0.0, 0.0]
    assert state["shares"] == pytest.approx({"a": 0.5, "b": 1.5})


def test_the_first_round_is_the_uniform_mean():
    updates = [of("a", 1.0, 1.0, 2.0), of("b", 2.0, 3.0, 8.0)]
    total = add_up(Mean("uniform").collect(update, Round(1, 0, 0, {})) for update in updates)
    assert play(AgnosticFL(0.1), {"shares": {}}, *updates)[0] == total.mean().vectors["delta"].tolist()


def test_elements_are_divided_by_the_shares_that_arrived_for_them():
    part = Coverage(Segments(2, ((1, 2),)), Segments.all(0))
    state = {"shares": {"a": 0.5, "b": 1.5}}
    found, _ = play(AgnosticFL(0.1), state, of("a", 1.0, 4.0, 4.0), of("b", 1.0, 8.0, coverage=part))
    assert found == pytest.approx([4.0, 0.25 * 4 + 0.75 * 8])


@pytest.mark.parametrize("seed", range(5))
def test_projection_agrees_with_bisection(seed):
    """The nearest point is max(x - t, 0) with the t that makes it sum to 1."""
    point = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = float(point.min()) - 1, float(point.max())
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if float((point - middle).clamp(min=0).sum()) > 1 else (low, middle)
    found = project(point.tolist())
    assert sum(found) == pytest.approx(1.0)
    assert found == pytest.approx((point - low).clamp(min=0).tolist(), abs=1e-12)


def test_points_of_the_simplex_stay():
    assert project([0.2, 0.5, 0.3]) == pytest.approx([0.2, 0.5, 0.3])
    assert project([0.0, 1.0]) == [0.0, 1.0]


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"AgnosticFL\.lr=0: must be > 0"):
        AgnosticFL(lr=0)
