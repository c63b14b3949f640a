"""A request to end a run before its time."""

import math
import time


class Interruption:
    """Asked for by any thread or signal handler, looked at by the driver and by whatever waits for agents."""

    def __init__(self) -> None:
        self._abandon_at = math.inf

    def ask(self, grace_s: float) -> None:
        """End after the round under way, and give that round up if it takes longer than this; the shortest counts."""
        self._abandon_at = min(self._abandon_at, time.monotonic() + grace_s)

    @property
    def asked(self) -> bool:
        """Whether no further round is to begin."""
        return self._abandon_at < math.inf

    def overdue(self) -> bool:
        """Whether the round under way is to be given up."""
        return time.monotonic() >= self._abandon_at
