"""Actors that start fast: what they need is imported once they run, with the garbage collector paused.

Each host imports torch in a process of its own, which makes a million objects that all live on; scanning them while
they are made takes a sixth of the time. So this module imports nothing heavy, and references arrive in a list,
unresolved.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import ray


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector; what was made meanwhile is then taken to live on and not scanned again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class HostActor:
    """One host in a process of its own, on the GPU that Ray pinned it to, or on the CPU.

    Args:
        parts: References to the session and the agents.
        gpus: GPUs, or the fraction of one, that this actor reserved.
        names: The agents that begin here, for whoever looks at Ray's dashboard or logs.
    """

    def __init__(self, parts: Sequence[Any], gpus: float, names: Sequence[str] = ()):
        self._names = list(names)
        with collector_paused():
            inside = import_module("raycollab.runtime.packed_host")
            self._host = inside.PackedHost(*ray.get(list(parts)), inside.device(gpus))

    def __repr__(self) -> str:
        more = f" and {len(self._names) - 1} more" if len(self._names) > 1 else ""
        return f"Host({self._names[0] if self._names else ''}{more})"

    def open(self, offer: Any, names: Any) -> Any:
        """See Host.open."""
        return self._host.open(offer, names)

    def run(self, vectors: Any, round: Any, share: Any, present: Any, slices: Any) -> Any:
        """See Host.run; the round's vectors arrive, and the result leaves, as arrays."""
        return self._host.run(vectors, round, share, present, slices)

    def begin(self, ticket: Any, vectors: Any, round: Any, share: Any, present: Any) -> None:
        """See PackedHost.begin."""
        self._host.begin(ticket, vectors, round, share, present)

    @ray.method(concurrency_group="sending")
    def send(self, ticket: Any, slices: Any, timeout_s: Any) -> Any:
        """See PackedHost.send; goes on while the next share is begun."""
        return self._host.send(ticket, slices, timeout_s)

    def answer(self, messages: Any) -> Any:
        """See Host.answer."""
        return self._host.answer(messages)

    def validate(self, vectors: Any, last_rounds: Any, index: int, form: int = 0) -> Any:
        """See Host.validate."""
        return self._host.validate(vectors, last_rounds, index, form)

    def judge(self, vectors: Any) -> Any:
        """See Judge.loss."""
        return self._host.judge(vectors)

    def hold(self, last_rounds: Any) -> Any:
        """See Host.hold."""
        return self._host.hold(last_rounds)

    @ray.method(concurrency_group="storage")
    def write(self, storage: Any, failures: Any) -> Any:
        """See Host.write; goes on while `run` is busy, once `hold` has returned the failures."""
        self._host.write(storage)
        return failures

    def restore(self, storage: Any, names: Any) -> None:
        """See Host.restore."""
        self._host.restore(storage, names)

    @ray.method(concurrency_group="control")
    def stop(self, index: int, attempt: int, version: int) -> None:
        """See Host.stop; answers while `run` is busy."""
        self._host.stop(index, attempt, version)
