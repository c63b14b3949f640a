from collections import Counter

import pytest

from raycollab.selection import Candidate, RoundRobin


def select(count, round, names="abcde"):
    chosen = RoundRobin().select([Candidate(name, 1) for name in names], count, round=round, seed=round)
    return "".join(chosen)


def test_by_hand():
    assert [select(2, round) for round in range(1, 6)] == ["ab", "cd", "ae", "bc", "de"]


@pytest.mark.parametrize("count", range(1, 6))
def test_everybody_as_often(count):
    assert set(Counter("".join(select(count, round) for round in range(1, 6))).values()) == {count}
