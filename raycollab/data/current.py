"""What an agent has opened of a source that may be another one in a later round."""

from collections.abc import Callable
from typing import Generic, TypeVar

from raycollab.data.base import Source

Opened = TypeVar("Opened")


class Current(Generic[Opened]):
    """What is opened from a source as it is in a round; opened again only when it has become another one.

    Args:
        source: Where the data is.
        opener: Opens what the source is in a round.
    """

    def __init__(self, source: Source, opener: Callable[[Source], Opened]):
        self._source = source
        self._opener = opener
        self._there: tuple[Source, Opened] | None = None

    @property
    def fixed(self) -> bool:
        """Whether it is the same in all rounds."""
        return self._source.at(0) is self._source

    def at(self, round: int) -> Opened:
        """What is opened in a round.

        Raises: DataError if it cannot be; what was opened before is forgotten then.
        """
        source = self._source.at(round)
        if self._there is None or (source is not self._there[0] and source != self._there[0]):
            self._there = None
            self._there = source, self._opener(source)
        return self._there[1]
