"""A round at work on actors: each takes a share of its blocks, and the next one when it is done."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.actor import ActorHandle

from raycollab.runtime.ray_hosts import SLICE_S, Gone, RayHosts, answer_of, late
from raycollab.runtime.sharing import Share, Shares
from raycollab.types import Failure

_NOT_BEGUN = Failure("", "Timeout", "its host had not come to it when the round ended")
_AHEAD = 2  # shares that a host has at a time, so that it need not wait for the next one


class Work:
    """Shares with hosts, and what came of them.

    Args:
        hosts: The actors; those that are down are not asked.
        shares: What there is to do.
        start: Hands a share to an actor; returns a reference to its answer.

    Attributes:
        answered: What hosts sent for their shares, as it arrived.
        failed: Host, reference, share and failure of those that did not.
        asked: The hosts that were given something.
    """

    def __init__(self, hosts: RayHosts, shares: Shares, start: Callable[[ActorHandle, Share], Any]):
        self.answered: list[tuple[Share, Any]] = []
        self.failed: list[tuple[int, Any, Share, Failure]] = []
        self.asked: set[int] = set()
        self._hosts = hosts
        self._shares = shares
        self._start = start
        self._running: dict[Any, tuple[int, Share]] = {}

    def go_on(self, until: Callable[[], bool], timeout_s: float) -> None:
        """Run until all is done, `until` says that it is enough, or time is up; then the others are late.

        Returns at most half a second after `until` has changed its mind.
        """
        for host in self._shares.hosts:
            for _ in range(_AHEAD if self._hosts.is_up(host) else 0):
                self._hand_out(host)
        deadline = time.monotonic() + timeout_s
        while self._running and not until():
            left_s = max(0.0, deadline - time.monotonic())
            done, _ = ray.wait(list(self._running), num_returns=1, timeout=min(left_s, SLICE_S))
            for ref in done:
                self._arrived(ref, answer_of(ref, timeout_s), go_on=left_s > 0)
            if not (done or left_s):
                break
        for ref, (host, share) in self._running.items():
            self.failed.append((host, ref, share, late(timeout_s)))

    def left_out(self) -> Iterator[tuple[int, Share, Failure]]:
        """The shares that no host was given, with why: theirs is down, has died, or was too slow."""
        died = {host: failure for host, _, _, failure in self.failed if isinstance(failure, Gone)}
        for share in self._shares.rest():
            home = share[0].home
            absent = _NOT_BEGUN if self._hosts.is_up(home) else self._hosts.absence(home)
            yield home, share, died.get(home, absent)

    def _hand_out(self, host: int) -> None:
        share = self._shares.take(host, idle=not any(at == host for at, _ in self._running.values()))
        if share is not None:
            self._running[self._start(self._hosts.handles[host], share)] = host, share
            self.asked.add(host)

    def _arrived(self, ref: Any, answer: Any, *, go_on: bool) -> None:
        host, share = self._running.pop(ref)
        if isinstance(answer, Failure):
            self.failed.append((host, ref, share, answer))
        else:
            self.answered.append((share, answer))
        if go_on and not isinstance(answer, Gone):
            self._hand_out(host)
