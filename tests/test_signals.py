"""Signals sent to this process, which has the handlers that it had in the end."""

import os
import signal
import threading

import pytest

from raycollab.signals import asked_by_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_does_what_it_always_did(number):
    before, asked, hit = signal.getsignal(number), [], []
    signal.signal(number, lambda *_: hit.append(1))
    try:
        with asked_by_signals(lambda: asked.append(1)):
            os.kill(os.getpid(), number)
            assert (asked, hit) == ([1], [])
            os.kill(os.getpid(), number)
            assert (asked, hit) == ([1], [1])
        assert hit == [1]
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_where_nothing_was_asked():
    before = signal.getsignal(signal.SIGTERM)
    with asked_by_signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_cannot_set_handlers_and_does_not():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def run():
        with asked_by_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
