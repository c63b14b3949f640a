"""From which version agents start, and which of them a round waits for: one mode a file."""

from raycollab.modes.base import Mode
from raycollab.modes.synchronous import Synchronous

__all__ = ["Mode", "Synchronous"]
