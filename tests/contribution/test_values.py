"""Worths of players in games of which they are known."""

import math
import random

import pytest

from raycollab.contribution import Utility, gtg_shapley, leave_one_out, shapley
from raycollab.errors import ConfigError


def glove(coalition):
    """Players 0 and 1 have a left glove each, player 2 a right one; a pair is worth 1.

    By the six orders, player 2 completes a pair unless it comes first: 2/3. The others share the rest: 1/6 each.
    """
    return float(2 in coalition and bool(coalition & {0, 1}))


def concave(weights):
    """The root of the sum of weights, as what learners add to each other grows ever slower; 1 for nobody."""
    return lambda coalition: 1 + math.sqrt(sum(weights[player] for player in coalition))


WEIGHTS = (5.0, 3.0, 2.0, 1.0, 0.0)
NULL = 4


def test_values_of_a_game_that_is_known():
    assert shapley(Utility(glove, 3)) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert leave_one_out(Utility(glove, 3)) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("truncate", [0.0, 0.01])
def test_a_sample_comes_near_the_exact_values(truncate):
    utility = Utility(concave(WEIGHTS), 5)
    exact, found = shapley(utility), gtg_shapley(utility, seed=0, truncate=truncate)
    assert found == pytest.approx(exact, abs=0.05 * max(exact))
    assert sorted(range(5), key=found.__getitem__) == sorted(range(5), key=exact.__getitem__)


@pytest.mark.parametrize("value", [shapley, lambda utility: gtg_shapley(utility, seed=1, truncate=0.05)])
def test_values_sum_to_what_all_add(value):
    utility = Utility(concave(WEIGHTS), 5)
    assert sum(value(utility)) == pytest.approx(utility.total, abs=1e-9)


def test_who_adds_nothing_anywhere_is_worth_nothing():
    utility = Utility(concave(WEIGHTS), 5)
    assert shapley(utility)[NULL] == pytest.approx(0, abs=1e-12)
    assert leave_one_out(utility)[NULL] == 0
    assert gtg_shapley(utility, seed=0, truncate=0.0)[NULL] == pytest.approx(0, abs=1e-12)


def test_copies_are_worth_the_same_and_nothing_to_those_that_have_the_other():
    def covered(coalition):
        return float(len({min(player, 2) for player in coalition}))  # players 2 and 3 have the same

    assert shapley(Utility(covered, 4)) == pytest.approx([1, 1, 0.5, 0.5])
    assert leave_one_out(Utility(covered, 4)) == [1, 1, 0, 0]


def test_a_coalition_is_looked_at_once():
    asked = []
    utility = Utility(lambda coalition: asked.append(coalition) or float(len(coalition)), 5)
    shapley(utility)
    gtg_shapley(utility, seed=0)
    assert utility.asked == len(asked) == len(set(asked)) == 2**5


def test_truncation_saves_coalitions_where_few_players_have_all():
    weights = [10.0, 8.0, *[1e-6] * 10]
    few, many = (Utility(concave(weights), 12) for _ in range(2))
    gtg_shapley(few, seed=0, truncate=0.05, most_passes=12)
    gtg_shapley(many, seed=0, truncate=0.0, most_passes=12)
    assert few.asked < 0.85 * many.asked  # the later of two of twelve is the ninth on average


def test_same_seed_same_values():
    weights = [random.Random(3).random() for _ in range(9)]
    first, second, other = (gtg_shapley(Utility(concave(weights), 9), seed=seed) for seed in (5, 5, 6))
    assert first == second != other


def test_too_many_players_for_exact_values():
    with pytest.raises(ConfigError, match="9 players make 512 coalitions; 8 are the most, take 'gtg' for more"):
        shapley(Utility(concave([1.0] * 9), 9))
