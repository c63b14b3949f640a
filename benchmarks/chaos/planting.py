"""How faults get into a run's processes: with a step of its chain, which changes nothing of what is computed."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from importlib import import_module
from typing import Any

from torch import Tensor

from benchmarks.chaos.ledger import Ledger
from raycollab.transforms import Transform
from raycollab.types import State


@dataclass(frozen=True)
class Seeds(Transform):
    """Leaves every delta as it is; wherever it arrives from another process, faults are planted.

    Args:
        ledger: The folder of the run's ledger.
    """

    ledger: str

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Nothing."""
        del params, seed
        return delta, state

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.ledger,)


def _arrived(ledger: str) -> Seeds:
    _planted(ledger)
    return Seeds(ledger)


@cache
def _planted(ledger: str) -> None:
    for place in ("hosts", "drivers"):
        import_module(f"benchmarks.chaos.{place}").plant(Ledger(ledger))


def around(owner: Any, name: str, act: Callable[..., Any]) -> None:
    """Let a function or method be called through `act(real, *arguments)` from now on."""
    real = getattr(owner, name)

    @wraps(real)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        return act(real, *arguments, **named)

    setattr(owner, name, wrapped)


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
