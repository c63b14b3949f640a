"""Who takes which blocks, and in which portions."""

import math

from raycollab.runtime.layout import Block
from raycollab.runtime.sharing import Shares
from raycollab.types import Assignment

HOSTS = range(3)


def blocks(*homes, pinned=False):
    return [Block(index, (Assignment(f"a{index}", 0),), home, pinned) for index, home in enumerate(homes)]


def taken(shares, host):
    share = shares.take(host)
    return share and [block.index for block in share]


def everything(shares, host):
    found = []
    while (share := taken(shares, host)) is not None:
        found.append(share)
    return found


def test_what_nobody_knows_the_time_of_goes_block_by_block():
    shares = Shares(blocks(0, 0, 0, pinned=True), lambda block: math.nan)
    assert everything(shares, 0) == [[0], [1], [2]]
    many = everything(Shares(blocks(*[0] * 1000), lambda block: math.nan), 0)
    assert [index for share in many for index in share] == list(range(1000))
    assert 16 <= len(many) <= 18


def test_pinned_blocks_go_together_up_to_a_second():
    assert everything(Shares(blocks(0, 0, 0, 0, pinned=True), lambda block: 0.1), 0) == [[0, 1, 2, 3]]
    assert everything(Shares(blocks(0, 0, 0, 0, pinned=True), lambda block: 0.5), 0) == [[0, 1], [2, 3]]
    assert everything(Shares(blocks(0, 0, pinned=True), lambda block: 9.0), 0) == [[0], [1]]


def test_what_can_move_stays_in_a_few_portions():
    assert everything(Shares(blocks(*[0] * 6), lambda block: 0.1), 0) == [[0, 1], [2, 3], [4, 5]]


def test_what_is_short_is_not_cut():
    assert everything(Shares(blocks(*[0] * 6), lambda block: 0.001), 0) == [[0, 1, 2, 3, 4, 5]]
    assert everything(Shares(blocks(*[0] * 6), lambda block: 0.02), 0) == [[0, 1, 2], [3, 4, 5]]


def test_a_share_lasts_ten_times_as_long_as_its_sum_takes_to_cross():
    assert everything(Shares(blocks(*[0] * 6), lambda block: 0.1, crossing_s=0.03), 0) == [[0, 1, 2], [3, 4, 5]]
    assert everything(Shares(blocks(0, 0), lambda block: 0.4, crossing_s=0.4), 0) == [[0, 1]]
    assert everything(Shares(blocks(0, 0, pinned=True), lambda block: 0.9, crossing_s=0.4), 0) == [[0, 1]]
    assert everything(Shares(blocks(0, 0, pinned=True), lambda block: 9.0, crossing_s=0.4), 0) == [[0], [1]]


def test_the_longest_share_comes_first():
    """So that a round does not end with somebody waiting for it; neighbours stay together, so no more sums cross."""
    lasts = [0.5, 0.5, 9.0, 0.2, 0.2, 3.0]
    shares = Shares(blocks(*[0] * 6, pinned=True), lambda block: lasts[block.index])
    assert everything(shares, 0) == [[2], [5], [0, 1], [3, 4]]
    one_by_one = Shares(blocks(*[0] * 6), lambda block: lasts[block.index], single=True)
    assert everything(one_by_one, 0) == [[0], [1], [2], [3], [4], [5]]  # the slow ones first would be those that count


def test_each_block_by_itself_where_that_is_asked_for():
    assert everything(Shares(blocks(0, 0), lambda block: 0.1, single=True), 0) == [[0], [1]]


def test_who_is_done_takes_the_last_of_whoever_has_most_left():
    shares = Shares(blocks(0, 1, 1, 1, 2, 2), lambda block: 0.1, movers=HOSTS)
    assert shares.homes == shares.hosts == [0, 1, 2]
    assert [taken(shares, 0) for _ in range(4)] == [[0], [3], [2], [5]]
    assert everything(shares, 1) == [[1], [4]]
    assert everything(shares, 0) == []


def test_hosts_without_a_block_of_their_own_can_help():
    shares = Shares(blocks(0, 0), lambda block: 0.1, movers=HOSTS)
    assert (shares.homes, shares.hosts) == ([0], [0, 1, 2])
    assert [taken(shares, 2), taken(shares, 1), taken(shares, 0)] == [[1], [0], None]


def test_who_still_has_something_to_do_takes_nothing_of_others():
    shares = Shares(blocks(0, 1), lambda block: 0.1, movers=HOSTS)
    assert shares.take(0, idle=True)[0].index == 0
    assert shares.take(0, idle=False) is None
    assert shares.take(1, idle=False)[0].index == 1


def test_pinned_blocks_stay_and_strangers_take_nothing():
    pinned = Shares(blocks(0, 1, pinned=True), lambda block: 0.1)
    assert taken(pinned, 0) == [0]
    assert taken(pinned, 0) is None
    assert [[block.index for block in share] for share in pinned.rest()] == [[1]]
    mixed = Shares([*blocks(0, 0), Block(2, (Assignment("late", 0),), 7, True)], lambda block: 0.1, movers=[0])
    assert everything(mixed, 7) == [[2]]  # a host that joined with its agent knows no other
    assert everything(mixed, 3) == []
