"""The driver in a process of its own; see raycollab.runtime.actors for why it imports nothing heavy."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import ray

from raycollab.runtime.actors import collector_paused


class DriverActor:
    """Runs an experiment; what happens is streamed to the process that started it.

    Args:
        parts: References to the plan, the hosts' specs, their handles and the run folder.
        began: When the run was asked for, in seconds since the epoch.
    """

    def __init__(self, parts: Sequence[Any], began: float):
        self._began = began
        with collector_paused():
            self._conduct = import_module("raycollab.conduct")
            self._parts = ray.get(list(parts))

    def events(self) -> Iterator[Any]:
        """Start, run all rounds, finish."""
        driver = self._conduct.driver_on_ray(*self._parts)
        yield from self._conduct.conduct(driver, self._began)
