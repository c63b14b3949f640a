"""A host that arrays reach: what it begins in one thread is sent by another."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import pytest

import raycollab as rc
from raycollab.runtime.layout import Block
from raycollab.runtime.packed_host import PackedHost
from raycollab.runtime.wire import pack, unpack
from raycollab.types import Assignment

from .test_host import agents, first_round, offer, session

FIRST, SECOND = "first", "second"


@dataclass(frozen=True)
class Waits(rc.SGD):
    """SGD that one agent only takes once the test lets it."""

    def update(self, problem, params, state, round):
        if problem.agent == "a1":
            assert GATE.wait(20)
        return super().update(problem, params, state, round)


GATE = threading.Event()


@pytest.fixture
def prepared():
    """A host with two agents, the round as it is told and as it is broadcast, and a share for each agent."""
    GATE.clear()
    model, made = offer()
    host = PackedHost(session(), agents(Waits(), Waits()), "cpu")
    host.open(made)
    round = first_round(model, made)
    shares = [(Block(at, (Assignment(f"a{at}", 0, 0),)),) for at in range(2)]
    return host, round, pack(round.vectors), shares


def bits(result):
    return [unpack(node.partial).mean().vectors["delta"].numpy().tobytes() for node in result.nodes]


def test_a_share_is_sent_while_the_next_one_is_begun(prepared):
    host, round, sent, shares = prepared
    with ThreadPoolExecutor(1) as sender:
        host.begin(FIRST, sent, round, shares[0], [0, 1])
        result = sender.submit(host.send, FIRST, 0, 10.0)
        begun = threading.Thread(target=host.begin, args=(SECOND, sent, round, shares[1], [0, 1]))
        begun.start()
        first = result.result(10)
        assert begun.is_alive()
        GATE.set()
        begun.join(20)
        second = sender.submit(host.send, SECOND, 0, 10.0).result(10)
    assert [report.agent for each in (first, second) for report in each.reports] == ["a0", "a1"]
    assert [bits(each) for each in (first, second)] == [bits(host.run(sent, round, share, [0, 1])) for share in shares]


def test_whoever_sends_waits_for_what_has_not_begun(prepared):
    host, round, sent, shares = prepared
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(host.send, FIRST, 0, 10.0)
        host.begin(FIRST, sent, round, shares[0], [0, 1])
        assert waiting.result(10).made_in == (1, 0, 0)


def test_slices_leave_after_the_result(prepared):
    host, round, sent, shares = prepared
    host.begin(FIRST, sent, round, shares[0], [0, 1])
    result, *parts = host.send(FIRST, 3, 10.0)
    assert result.reports[0].agent == "a0"
    assert len(parts) == 3


def test_send_raises_what_begin_raised(prepared):
    """The driver asks for what is sent, and for nothing else; nothing of a failed share is held afterwards."""
    host, round, sent, shares = prepared
    host.begin(FIRST, sent, round, Unpacked(), [0, 1])
    with pytest.raises(LookupError, match="no blocks"):
        host.send(FIRST, 0, 10.0)
    assert not Unpacked.alive
    host.begin(SECOND, sent, round, shares[0], [0, 1])
    assert host.send(SECOND, 0, 10.0).reports


class Unpacked:
    """A share that cannot be gone through, and counts how many of it there are."""

    alive: ClassVar[set] = set()

    def __init__(self):
        self.alive.add(id(self))

    def __iter__(self):
        raise LookupError("no blocks")

    def __del__(self):
        self.alive.discard(id(self))


def test_send_does_not_wait_for_ever(prepared):
    host, *_ = prepared
    with pytest.raises(TimeoutError):
        host.send(FIRST, 0, 0.05)


def test_another_driver_ends_what_waits(prepared):
    host, round, sent, shares = prepared
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(host.send, FIRST, 0, 60.0)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        host.open(offer()[1])
        with pytest.raises(CancelledError):
            waiting.result(10)
        host.begin(SECOND, sent, round, shares[0], [0, 1])
        assert sender.submit(host.send, SECOND, 0, 10.0).result(10).reports
