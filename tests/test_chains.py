from dataclasses import dataclass

import pytest
import torch

from raycollab.aggregation import Mean, Median
from raycollab.chains import Pipeline, chain
from raycollab.errors import ConfigError
from raycollab.spec import BUFFERS, DELTA
from raycollab.transforms import ClipNorm, Momentum, Transform
from raycollab.types import Round, Update

PARAMS = torch.zeros(2)
ROUND = Round(1, 0, 0, {"params": PARAMS})


@dataclass(frozen=True)
class Add(Transform):
    """Adds a number; remembers how often, and the seeds that it got."""

    amount: float

    def init(self, params):
        return {"times": 0, "seeds": []}

    def update(self, delta, state, params, *, seed):
        return delta + self.amount, {"times": state["times"] + 1, "seeds": [*state["seeds"], seed]}


@dataclass(frozen=True)
class Double(Transform):
    """Doubles."""

    def update(self, delta, state, params, *, seed):
        return delta * 2, state


def update(*values, weight=1.0):
    return Update("a", weight, {DELTA: torch.tensor(values), BUFFERS: torch.ones(1)})


def test_left_of_the_aggregator_is_for_agents_and_right_of_it_for_the_driver():
    made = chain(ClipNorm(1.0), Add(1.0), Mean(), Momentum(0.5), Double())
    assert made.aggregator == Mean()
    assert made.on_agent == Pipeline((ClipNorm(1.0), Add(1.0)))
    assert made.on_driver == Pipeline((Momentum(0.5), Double()))
    alone = chain(Median())
    assert alone.on_agent.transforms == alone.on_driver.transforms == ()


def test_a_pipeline_goes_in_order_and_touches_the_delta_alone():
    for steps, expected in (((Add(1.0), Double()), [4.0, 6.0]), ((Double(), Add(1.0)), [3.0, 5.0])):
        pipeline = Pipeline(steps)
        before = update(1.0, 2.0)
        after, _ = pipeline.update(before, pipeline.init(PARAMS), PARAMS, seed=0)
        assert after.vectors[DELTA].tolist() == expected
        assert after.vectors[BUFFERS] is before.vectors[BUFFERS]
        assert before.vectors[DELTA].tolist() == [1.0, 2.0]


def test_each_transform_has_its_own_state_and_stream():
    pipeline = Pipeline((Add(1.0), Add(2.0)))
    first = pipeline.init(PARAMS)
    _, second = pipeline.update(update(0.0, 0.0), first, PARAMS, seed=5)
    _, third = pipeline.update(update(0.0, 0.0), second, PARAMS, seed=6)
    assert [state["times"] for state in first] == [0, 0]
    assert [state["times"] for state in third] == [2, 2]
    seeds = [seed for state in third for seed in state["seeds"]]
    assert len(set(seeds)) == 4
    _, again = pipeline.update(update(0.0, 0.0), first, PARAMS, seed=5)
    assert again == second


def test_an_empty_pipeline_gives_back_what_it_got():
    before = update(1.0, 2.0)
    after, state = Pipeline(()).update(before, [], PARAMS, seed=0)
    assert after is before
    assert state == []


def test_a_round_on_the_driver_by_hand():
    """Mean of 1 and 3 is 2; momentum 0.5 makes steps 2 and 0.5 * 2 + 2 = 3."""
    made = chain(Mean(), Momentum(0.5))
    state = made.init(PARAMS)
    for expected in (2.0, 3.0):
        total = made.aggregator.collect(update(1.0, 1.0), ROUND) + made.aggregator.collect(update(3.0, 3.0), ROUND)
        merged, state = made.update(total, state, PARAMS, seed=0)
        assert merged.vectors[DELTA].tolist() == [expected, expected]
        assert merged.vectors[BUFFERS].tolist() == [1.0]


def test_a_value():
    assert chain(ClipNorm(1.0), Mean()) == chain(ClipNorm(1.0), Mean()) != chain(ClipNorm(2.0), Mean())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), r"chain: 0 aggregators \[\]; give exactly one, such as chain\(ClipNorm\(10.0\), Mean\(\)\)"),
        ((ClipNorm(1.0),), "chain: 0 aggregators"),
        ((Mean(), Median()), r"chain: 2 aggregators \['Mean', 'Median'\]"),
        ((Mean,), r"chain: <class '.*Mean'> is neither a Transform nor an Aggregator; give instances such as Mean\(\)"),
        ((Mean(), None), "chain: None is neither"),
    ],
)
def test_refuses(steps, message):
    with pytest.raises(ConfigError, match=message):
        chain(*steps)
