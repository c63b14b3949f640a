"""The blocks of a round on their way to hosts: each takes a share of them at a time."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from raycollab.aggregation import Node
from raycollab.runtime.layout import Block
from raycollab.types import AgentReport, Failure

_LONGEST_S = 1.0  # of a share: what a host that dies takes with it
_UNKNOWN = 16  # shares of a host, about, where nobody knows how long its blocks take
_PIECES = 3  # of what a host has, where another one that is done could take some of it
_SHORTEST_S = 0.05  # of a piece, which costs a call of some milliseconds
_CROSSINGS = 10  # that a share should last: its sum crosses by itself
Share = tuple[Block, ...]


@dataclass(frozen=True)
class ShareResult:
    """What became of a host's share of a round.

    Args:
        nodes: Sums of its blocks.
        reports: One of each agent that delivered.
        failures: One of each that did not.
        made_in: Round, attempt and version that it started from.
        seconds: That its agents took, without the way of what they send.
    """

    nodes: tuple[Node, ...]
    reports: tuple[AgentReport, ...]
    failures: tuple[Failure, ...]
    made_in: tuple[int, int, int]
    seconds: float = 0.0


def lost_share(share: Share, failure: Failure, decision: str) -> ShareResult:
    """The result of a share whose host did not answer."""
    agents = [assignment.agent for block in share for assignment in block.assignments]
    failures = tuple(Failure(agent, failure.error, failure.message, decision) for agent in agents)
    return ShareResult((), (), failures, (0, 0, 0))


class Shares:
    """Shares that wait for their host, or for any where it does not matter which.

    Args:
        blocks: Of a round.
        seconds_of: How long a block may take, NaN if nobody knows.
        single: Make a share of each block.
        movers: The hosts that can run what is not pinned.
        crossing_s: Seconds that a sum takes to cross.
    """

    def __init__(
        self,
        blocks: Iterable[Block],
        seconds_of: Callable[[Block], float],
        *,
        single: bool = False,
        movers: Iterable[int] = (),
        crossing_s: float = 0.0,
    ):
        homes: dict[int, list[Block]] = {}
        for block in blocks:
            homes.setdefault(block.home, []).append(block)
        shortest_s = max(_SHORTEST_S, _CROSSINGS * crossing_s)

        def portions(held: list[Block]) -> list[Share]:
            return [(block,) for block in held] if single else _cut(held, list(map(seconds_of, held)), shortest_s)

        self._waiting = {home: deque(portions(held)) for home, held in homes.items()}
        self._movers = set(movers)

    @property
    def homes(self) -> list[int]:
        """The hosts that have something to do of their own."""
        return list(self._waiting)

    @property
    def hosts(self) -> list[int]:
        """These first, then those that could do something of others."""
        return list(dict.fromkeys((*self._waiting, *sorted(self._movers))))

    def take(self, host: int, *, idle: bool = True) -> Share | None:
        """The next share for a host: the longest of its own; else, if it is idle, the last of whoever has most left."""
        if own := self._waiting.get(host):
            return own.popleft()
        if not idle:
            return None
        waiting = [shares for shares in self._waiting.values() if shares and not shares[-1][0].pinned]
        others = waiting if host in self._movers else []
        return max(others, key=len).pop() if others else None

    def rest(self) -> list[Share]:
        """Those that nobody has taken."""
        return [share for waiting in self._waiting.values() for share in waiting]


def _cut(blocks: Sequence[Block], seconds: Sequence[float], shortest_s: float) -> list[Share]:
    """Neighbours together until they take long enough, which makes few sums of them; the longest share first."""
    total = sum(seconds)
    if math.isnan(total):
        size = max(1, len(blocks) // _UNKNOWN)
        return [tuple(blocks[start : start + size]) for start in range(0, len(blocks), size)]
    most = min(max(_LONGEST_S, shortest_s), total if blocks[0].pinned else max(shortest_s, total / _PIECES))
    shares: list[list[Block]] = []
    times: list[float] = []
    for block, lasts in zip(blocks, seconds, strict=True):
        if not shares or times[-1] + lasts / 2 > most:
            shares.append([])
            times.append(0.0)
        shares[-1].append(block)
        times[-1] += lasts
    return [tuple(shares[place]) for place in sorted(range(len(shares)), key=lambda place: -times[place])]
