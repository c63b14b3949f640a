import pytest

from raycollab.errors import ConfigError
from raycollab.selection import ByWeight, Candidate

SIZES = {"a": 1, "b": 2, "c": 3, "d": 4}
CANDIDATES = [Candidate(name, examples) for name, examples in SIZES.items()]


def select(count, weights=None, round=1, seed=0):
    return ByWeight(weights).select(CANDIDATES, count, round=round, seed=seed)


@pytest.mark.parametrize("weights", [None, {"a": 4.0, "b": 3.0, "c": 0.5}])
def test_one_of_them_in_proportion(weights):
    """2000 rounds of one: counts have a standard deviation of at most sqrt(2000 / 4) = 22.4."""
    drawn = [select(1, weights, round)[0] for round in range(2000)]
    given = weights or SIZES
    for name in SIZES:
        assert drawn.count(name) == pytest.approx(2000 * given.get(name, 0) / sum(given.values()), abs=4.5 * 22.4)


def test_two_of_them_one_after_the_other():
    """P(a and d) = 0.1 * 4/9 + 0.4 * 1/6 = 1/9; of 2000 rounds 222, with a standard deviation of 14."""
    drawn = [select(2, round=round) for round in range(2000)]
    assert all(pair == sorted(set(pair)) and len(pair) == 2 for pair in drawn)
    assert drawn.count(["a", "d"]) == pytest.approx(2000 / 9, abs=4.5 * 14)


def test_all_of_them():
    assert select(4) == ["a", "b", "c", "d"]


def test_depends_on_round_and_seed_alone():
    rounds = [select(2, round=round) for round in range(9)]
    assert rounds == [select(2, round=round) for round in range(9)]
    assert rounds != [select(2, round=round, seed=1) for round in range(9)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": -1.0, "b": 2.0}, r"ByWeight.weights={'a': -1.0, 'b': 2.0}: must be finite, >= 0 and not all zero"),
        ({"a": 0.0}, "not all zero"),
        ({}, "not all zero"),
        ({"a": float("nan")}, "must be finite"),
        ({"a": float("inf")}, "must be finite"),
        ({7: 1.0}, "ByWeight.weights: the name 7 is no text; write it in quotes, as '7'"),
    ],
)
def test_refuses(weights, message):
    with pytest.raises(ConfigError, match=message):
        ByWeight(weights)


def test_refuses_more_agents_than_have_a_weight():
    message = (
        r"ByWeight\(weights=.*\): 2 of 4 agents have a weight > 0, and a round takes 3: lower RunConfig.agents_per"
    )
    with pytest.raises(ConfigError, match=message):
        select(3, {"a": 1.0, "b": 1.0, "e": 1.0})
