"""The blocks of a round on their way to hosts: each takes a share of them at a time."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from raycollab.runtime.layout import Block

_LONGEST_S = 1.0  # of a share: what a host that dies takes with it
_PIECES = 3  # of what a host has, where another one that is done could take some of it
_SHORTEST_S = 0.05  # of a piece, which costs a call of some milliseconds
Share = tuple[Block, ...]


class Shares:
    """Shares that wait for their host, or for any where it does not matter which.

    Args:
        blocks: Of a round.
        seconds_of: How long a block may take, NaN if nobody knows.
        single: Make a share of each block.
    """

    def __init__(self, blocks: Iterable[Block], seconds_of: Callable[[Block], float], *, single: bool = False):
        homes: dict[int, list[Block]] = {}
        for block in blocks:
            homes.setdefault(block.home, []).append(block)
        self._waiting = {
            home: deque([(block,) for block in held] if single else _cut(held, [seconds_of(block) for block in held]))
            for home, held in homes.items()
        }
        self._movers = {home for home, held in homes.items() if not held[0].pinned}

    @property
    def homes(self) -> list[int]:
        """The hosts that have something to do."""
        return list(self._waiting)

    def take(self, host: int, *, idle: bool = True) -> Share | None:
        """The next share for a host: of its own ones; else, if it is idle, the last of whoever has most left."""
        if own := self._waiting.get(host):
            return own.popleft()
        if not idle:
            return None
        others = [self._waiting[home] for home in self._movers if self._waiting[home] and host in self._movers]
        return max(others, key=len).pop() if others else None

    def rest(self) -> list[Share]:
        """Those that nobody has taken."""
        return [share for waiting in self._waiting.values() for share in waiting]


def _cut(blocks: Sequence[Block], seconds: Sequence[float]) -> list[Share]:
    """Neighbours together until they take long enough; blocks of which nobody knows are alone."""
    total = sum(seconds)
    most = min(_LONGEST_S, total if blocks[0].pinned else max(_SHORTEST_S, total / _PIECES))
    shares: list[list[Block]] = []
    so_far = math.inf
    for block, lasts in zip(blocks, seconds, strict=True):
        if not so_far + lasts / 2 <= most:  # also where it is NaN
            shares.append([])
            so_far = 0.0
        shares[-1].append(block)
        so_far += lasts
    return [tuple(share) for share in shares]
