"""Who is summed with whom, and where."""

import pytest

from raycollab.errors import ConfigError
from raycollab.runtime.layout import Layout
from raycollab.types import Assignment

NAMES = tuple(f"a{i}" for i in range(6))


def work(*names):
    return [Assignment(name, 0) for name in names]


def members(blocks):
    return [[assignment.agent for assignment in block.assignments] for block in blocks]


@pytest.mark.parametrize("anywhere", [False, True])
@pytest.mark.parametrize(
    ("agents", "blocks", "hosts"), [(6, 6, 1), (6, None, 4), (10, 4, 3), (7, 7, 7), (1, None, 1), (64, 10, 3)]
)
def test_laws(agents, blocks, hosts, anywhere):
    """Every agent is in one block, every block on one host; sizes differ by one at most, and every host has some."""
    names = tuple(f"n{i}" for i in range(agents))
    layout = Layout(names, hosts, blocks, anywhere=anywhere)
    cut = layout.blocks_of(work(*reversed(names)))
    assert [name for group in members(cut) for name in group] == list(names)
    assert [block.index for block in cut] == list(range(blocks or agents))
    sizes = [len(block.assignments) for block in cut]
    assert max(sizes) - min(sizes) <= 1
    assert {block.home for block in cut} == set(range(hosts))
    assert [block.home for block in cut] == sorted(block.home for block in cut)
    assert {block.pinned for block in cut} == {not anywhere}
    if not anywhere:
        assert all(layout.host_of(a.agent) == block.home for block in cut for a in block.assignments)
    assert [name for host in range(hosts) for name in layout.names_of(host)] == list(names)
    assert layout.by_host(names) == {host: layout.names_of(host) for host in range(hosts)}


@pytest.mark.parametrize("anywhere", [False, True])
def test_blocks_do_not_depend_on_hosts_or_on_the_order_asked(anywhere):
    one, three = (Layout(NAMES, hosts, 3, anywhere=anywhere) for hosts in (1, 3))
    for asked in (["a5", "a0", "a1"], ["a1", "a5", "a0"], ["a3"]):
        assert members(one.blocks_of(work(*asked))) == members(three.blocks_of(work(*sorted(asked))))


def test_those_who_live_somewhere_are_with_their_neighbours():
    layout = Layout(NAMES, 3, 3)
    cut = layout.blocks_of(work("a5", "a0", "a1"))
    assert [(block.index, block.home) for block in cut] == [(0, 0), (2, 2)]
    assert members(cut) == [["a0", "a1"], ["a5"]]


def test_those_who_can_be_anywhere_are_with_whoever_takes_part():
    layout = Layout(NAMES, 2, None, agents_at_once=2, anywhere=True)
    assert members(layout.blocks_of(work("a0", "a2", "a3", "a5"))) == [["a0", "a2"], ["a3", "a5"]]
    assert members(layout.blocks_of(work("a1", "a4", "a5"))) == [["a1", "a4"], ["a5"]]
    assert [block.home for block in layout.blocks_of(work("a4", "a5"))] == [1]  # where it was opened


def test_who_is_in_a_block_alone_has_its_number_whoever_takes_part():
    for anywhere in (False, True):
        layout = Layout(NAMES, 2, anywhere=anywhere)
        assert [block.index for block in layout.blocks_of(work("a5", "a0", "a4"))] == [0, 4, 5]
    assert [block.home for block in layout.blocks_of(work("a3", "a4", "a5"))] == [0, 0, 1]  # evenly, whoever it is


def test_those_who_joined_are_by_themselves():
    for anywhere in (False, True):
        layout = Layout(NAMES, 2, 2, anywhere=anywhere).with_agent("late", 0).with_agent("a1", 1)
        cut = layout.blocks_of(work("a1", "late", "a0", "a5"))
        assert members(cut) == [["a0"], ["a5"], ["late"], ["a1"]]
        assert [block.index for block in cut] == [0, 1, 6, 7]
        assert [(block.home, block.pinned) for block in cut[2:]] == [(2, True), (3, True)]
        assert (layout.host_of("late"), layout.names_of(2), layout.names_of(3)) == (2, ["late"], ["a1"])
        assert "a1" not in layout.names_of(0)


def test_more_hosts_than_blocks():
    with pytest.raises(
        ConfigError, match=r"4 hosts for num_blocks=3: a block is never cut.*raise RunConfig.num_blocks or"
    ):
        Layout(NAMES, 4, 3)
    with pytest.raises(ConfigError, match="4 hosts for 3 blocks of agents that learn at once"):
        Layout(NAMES, 4, None, agents_at_once=2)
