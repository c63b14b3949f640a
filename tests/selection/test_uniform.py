import pytest

from raycollab.selection import Candidate, Uniform

NAMES = [f"party-{i}" for i in range(10)]


def select(count, round=1, seed=0, names=NAMES):
    return Uniform().select([Candidate(name, 1) for name in names], count, round=round, seed=seed)


def test_the_right_number_in_order_without_replacement():
    for round in range(20):
        chosen = select(4, round)
        assert len(set(chosen)) == 4
        assert chosen == [name for name in NAMES if name in chosen]


@pytest.mark.parametrize("count", [10, 11])
def test_all_of_them(count):
    assert select(count) == NAMES


def test_depends_on_round_and_seed_alone():
    assert select(4) == select(4)
    assert select(4) != select(4, round=2)
    assert select(4) != select(4, seed=1)


def test_every_agent_has_the_same_probability():
    """1000 rounds of 3 of 10: each is drawn 300 times, with a standard deviation of sqrt(1000 * 0.3 * 0.7) = 14.5."""
    drawn = [name for round in range(1000) for name in select(3, round)]
    assert all(abs(drawn.count(name) - 300) < 5 * 14.5 for name in NAMES)
