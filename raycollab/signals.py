"""SIGTERM and Ctrl-C as a request to stop instead of a blow."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_by_signals(ask: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or Ctrl-C calls `ask`, which must only take note of it; the second does what it always did.

    Handlers can be set in the main thread alone: elsewhere this does nothing. They are put back in the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        ask()

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
