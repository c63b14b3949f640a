"""What makes a run survive, with a clock on each part of it, or without it: to measure what that costs."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from raycollab.transforms import Transform
from raycollab.types import State

PARTS = {  # where each stands, and what it returns where it is left out; checkpoints are left out by a setting
    "inspection": ("raycollab.runtime.ray_pool", "", "inspected", lambda result, *_: result),
    "journal": ("raycollab.journal", "Journal", "append", lambda *_: []),
    "checkpoints": ("raycollab.driver", "Driver", "_begin_checkpoint", None),
}
SECONDS = "parts.jsonl"  # of each part, a line a round


@dataclass(frozen=True)
class Clocked(Transform):
    """Leaves every delta as it is; in the driver's process it puts clocks on the parts, or leaves them out.

    Args:
        folder: Where the seconds are written.
        without: Whether they are left out.
    """

    folder: str
    without: bool

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Nothing; the seconds since the last round are written."""
        del params, seed
        clocks = _clocks(self.without)
        with Path(self.folder, SECONDS).open("a") as file:
            file.write(json.dumps(clocks) + "\n")
        clocks.update(dict.fromkeys(clocks, 0.0))
        return delta, state

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.folder, self.without)


def _arrived(folder: str, without: bool) -> Clocked:
    _clocks(without)
    return Clocked(folder, without)


@cache
def _clocks(without: bool) -> dict[str, float]:
    """The seconds of each part since they were last written; made once a process."""
    clocks = dict.fromkeys(PARTS, 0.0)
    for part, (module, owner, name, nothing) in PARTS.items():
        place = getattr(import_module(module), owner) if owner else import_module(module)
        setattr(place, name, nothing if without and nothing else _timed(clocks, part, getattr(place, name)))
    return clocks


def _timed(clocks: dict[str, float], part: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return real(*arguments, **named)
        finally:
            clocks[part] += time.perf_counter() - started

    return wrapped
