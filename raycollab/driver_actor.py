"""The driver in a process of its own; see raycollab.runtime.actors for why it imports nothing heavy."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import ray

from raycollab.commands import Commands
from raycollab.interruption import Interruption
from raycollab.runtime.actors import collector_paused

GROUPS = {"control": 1, "membership": 1}  # threads that answer while rounds run


class DriverActor:
    """Runs an experiment; what happens is streamed to the process that started it.

    Args:
        parts: References to the plan, the hosts' specs, their handles and the run folder.
        began: When the run was asked for, in seconds since the epoch.
    """

    def __init__(self, parts: Sequence[Any], began: float):
        self._began = began
        self._commands = Commands()
        self._interruption = Interruption()
        self._driver: Any = None
        with collector_paused():
            self._conduct = import_module("raycollab.conduct")
            self._parts = ray.get(list(parts))

    def events(self) -> Iterator[Any]:
        """Start, run all rounds, finish."""
        self._driver = self._conduct.driver_on_ray(*self._parts, self._interruption)
        telemetry = import_module("raycollab.runtime.telemetry").Telemetry(self._driver.folder.name)
        for event in self._conduct.conduct(self._driver, self._began, self._commands):
            telemetry.note(event)
            yield event

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """Where the run is, as plain data; answers while a round runs."""
        return self._conduct.status(self._driver)

    @ray.method(concurrency_group="control")
    def stop(self, grace_s: float) -> None:
        """End the run; see Interruption.ask."""
        self._interruption.ask(grace_s)

    @ray.method(concurrency_group="membership")
    def add_agent(self, agent: Any) -> Any:
        """See Driver.add_agent; waits until the round under way has ended."""
        return self._commands.put(lambda driver: driver.add_agent(agent)).result()

    @ray.method(concurrency_group="membership")
    def remove_agent(self, name: str) -> None:
        """See Driver.remove_agent; waits until the round under way has ended."""
        self._commands.put(lambda driver: driver.remove_agent(name)).result()
