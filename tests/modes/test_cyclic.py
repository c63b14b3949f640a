from raycollab.modes import Cyclic
from raycollab.types import Assignment


def turns(*rounds):
    """Whose turn it is in rounds that select these agents."""
    mode, found = Cyclic(), []
    state = mode.init()
    for version, selected in enumerate(rounds):
        (work,), state = mode.assign(selected, state, version=version, seed=0)
        assert work == Assignment(work.agent, version)
        found.append(work.agent)
    return "".join(found)


def test_all_take_turns_in_their_order():
    assert turns(*["abc"] * 7) == "abcabca"


def test_the_one_whose_turn_is_longest_ago():
    """By hand: a and b have had a turn when c appears; d is new in the last round."""
    assert turns("ab", "ab", "abc", "ab", "bc", "acd") == "abcabd"


def test_one_update_makes_a_version():
    assert (Cyclic().updates_per_round(7), Cyclic().horizon, Cyclic().discounts) == (1, 1, False)
