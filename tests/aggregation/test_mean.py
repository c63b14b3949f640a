import pytest
import torch

from raycollab.aggregation import Mean, add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.types import Round, Update

PARAMS = torch.zeros(2)
ROUND = Round(1, 0, 0, {"params": PARAMS})


def merged(rule, *updates):
    total = add_up(rule.collect(update, ROUND) for update in updates)
    return rule.update(total, rule.init(PARAMS), PARAMS, seed=0)


def of(name, weight, *values):
    return Update(name, weight, {"delta": torch.tensor(values)})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean(), [3.0, 0.0]),  # (1 * 0 + 3 * 4) / 4
        (Mean("uniform"), [2.0, 0.0]),
        (Mean(by_agent={"a": 3.0, "b": 1.0}), [1.0, 0.0]),
        (Mean(by_agent={"a": 0.5}), [0.0, 0.0]),  # b is not named
    ],
)
def test_by_hand(rule, expected):
    update, state = merged(rule, of("a", 1.0, 0.0, 0.0), of("b", 3.0, 4.0, 0.0))
    assert update.vectors["delta"].tolist() == expected
    assert state == {}


def test_nobody_with_weight_took_part():
    with pytest.raises(UpdateError, match="the weights of 1 updates sum to 0"):
        merged(Mean(by_agent={"north": 1.0}), of("south", 3.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "tokens"}, "Mean.weights='tokens': must be 'examples' or 'uniform'"),
        (
            {"by_agent": {"a": -1.0, "b": 2.0}},
            r"Mean.by_agent={'a': -1.0, 'b': 2.0}: weights must be >= 0 and not all zero",
        ),
        ({"by_agent": {"a": 0.0}}, "not all zero"),
        ({"by_agent": {}}, "not all zero"),
        ({"by_agent": {"a": float("nan")}}, "must be >= 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        Mean(**settings)
