"""Partials of numbered blocks, added in the order of a binary tree: whoever adds some of them first changes no bit.

Blocks that are missing are passed over: a sum has the same bits whether a block was never there or nothing came of it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raycollab.aggregation.partial import Partial, Tree


@dataclass(frozen=True)
class Node:
    """The sum of blocks `index * 2**level` to `(index + 1) * 2**level - 1`; None if nothing came of them."""

    level: int
    index: int
    partial: Partial | None

    def blocks(self, present: Sequence[int]) -> Sequence[int]:
        """Its blocks, of those that there are."""
        return _within(self.level, self.index, present)


class PairwiseSum:
    """Adds up blocks as they come: neighbours in the tree as soon as both are there.

    Args:
        present: The numbers of all blocks, in order, of which others may add up some.
    """

    def __init__(self, present: Sequence[int]):
        self._present = present
        self._nodes: dict[tuple[int, int], tuple[Partial | None, bool]] = {}  # whether its memory may be added into

    def put(self, block: int, partial: Partial | None) -> None:
        """Add what came of a block."""
        index, own = block, False
        for level in range(_levels(self._present) + 1):
            neighbour = (level, index ^ 1)
            if level == _levels(self._present) or (neighbour not in self._nodes and _within(*neighbour, self._present)):
                break
            if neighbour in self._nodes:
                pair = (partial, own), self._nodes.pop(neighbour)
                partial, own = _added(*(pair[::-1] if index % 2 else pair))
            index >>= 1
        self._nodes[level, index] = partial, own

    def nodes(self) -> tuple[Node, ...]:
        """The sums so far, in order."""
        order = sorted(self._nodes, key=lambda node: node[1] << node[0])
        return tuple(Node(level, index, self._nodes[level, index][0]) for level, index in order)


def total_of(nodes: Iterable[Node], present: Sequence[int]) -> Partial | None:
    """The sum of all blocks, of which some were added up before; None if nothing came of any."""
    known = {(node.level, node.index): node.partial for node in nodes}

    def tree(level: int, index: int) -> Tree | None:
        if (level, index) in known:
            return known[level, index]
        if not level or not _within(level, index, present):
            return None
        left, right = tree(level - 1, 2 * index), tree(level - 1, 2 * index + 1)
        return (left, right) if left is not None and right is not None else left if right is None else right

    whole = tree(_levels(present), 0)
    return None if whole is None else whole if isinstance(whole, Partial) else _kind(whole).total(whole)


def root(partial: Partial | None, present: Sequence[int]) -> Node:
    """The node of all blocks."""
    return Node(_levels(present), 0, partial)


def _levels(present: Sequence[int]) -> int:
    """Levels of the tree above its leaves."""
    return present[-1].bit_length() if present else 0


def _within(level: int, index: int, present: Sequence[int]) -> Sequence[int]:
    """The blocks below a node."""
    return present[bisect_left(present, index << level) : bisect_left(present, (index + 1) << level)]


def _kind(tree: Tree) -> type[Partial]:
    return type(tree) if isinstance(tree, Partial) else _kind(tree[0])


def _added(left: tuple[Partial | None, bool], right: tuple[Partial | None, bool]) -> tuple[Partial | None, bool]:
    """Both together, and whether that is in memory of its own."""
    if left[0] is None or right[0] is None:
        return right if left[0] is None else left
    if left[1]:
        total = left[0]
        total += right[0]
        return total, True
    return left[0] + right[0], True
