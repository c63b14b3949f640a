from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import TaskArithmetic, add_up
from raycollab.errors import ConfigError
from raycollab.spec import Coverage, Segments
from raycollab.types import Round, Update

ROUND = Round(1, 0, 0, {})


def of(name, weight, values, buffer, **settings):
    return Update(name, weight, {"delta": torch.tensor(values), "buffers": torch.tensor([buffer])}, **settings)


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, {}, torch.zeros(3), seed=0)[0].vectors


def test_by_hand():
    """Deltas add up whatever they weigh, times .5; buffers are averaged."""
    found = merged(TaskArithmetic(0.5), of("a", 1.0, [2.0, 0.0, 1.0], 2.0), of("b", 9.0, [2.0, 4.0, 0.0], 4.0))
    assert found["delta"].tolist() == [2.0, 2.0, 0.5]
    assert found["buffers"].tolist() == [3.0]


def test_parts_add_up_where_they_belong():
    part = Coverage(Segments(3, ((2, 3), (0, 1))), Segments.all(1))
    whole = of("a", 1.0, [1.0, 1.0, 1.0], 1.0)
    found = merged(TaskArithmetic(1.0), whole, of("b", 1.0, [5.0, 2.0], 1.0, coverage=part), whole)
    assert found["delta"].tolist() == [4.0, 2.0, 7.0]


def test_a_discount_shortens_what_is_added():
    fresh = of("a", 1.0, [1.0, 1.0, 1.0], 1.0)
    assert merged(TaskArithmetic(1.0), fresh, replace(fresh, discount=0.5))["delta"].tolist() == [1.5, 1.5, 1.5]


def test_what_is_refused():
    with pytest.raises(
        ConfigError, match=r"TaskArithmetic\.scale=0\.0: must be > 0 and finite; 1 adds deltas as they are"
    ):
        TaskArithmetic(0.0)
