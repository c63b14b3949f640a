"""From which version agents start, and which of them a round waits for: one mode a file."""

from raycollab.modes.base import Mode
from raycollab.modes.buffered import Buffered
from raycollab.modes.clock import Durations, Exponential, LogNormal, PerAgent
from raycollab.modes.cyclic import Cyclic
from raycollab.modes.semi_synchronous import SemiSynchronous
from raycollab.modes.synchronous import Synchronous

__all__ = [
    "Buffered",
    "Cyclic",
    "Durations",
    "Exponential",
    "LogNormal",
    "Mode",
    "PerAgent",
    "SemiSynchronous",
    "Synchronous",
]
