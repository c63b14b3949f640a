"""How good coalitions are; each is looked at once."""

from collections.abc import Callable

Coalition = frozenset[int]


class Utility:
    """The utility of coalitions of players 0 to n - 1, that of nobody taken out.

    Args:
        of: The utility of a coalition; asked once for each.
        count: Number of players.

    Attributes:
        asked: How many coalitions were looked at.
    """

    def __init__(self, of: Callable[[Coalition], float], count: int):
        self.count = count
        self._of = of
        self._known: dict[Coalition, float] = {}

    def __call__(self, coalition: Coalition) -> float:
        """What a coalition adds to nobody; 0 for nobody."""
        return self._known_of(coalition) - self._known_of(frozenset())

    @property
    def total(self) -> float:
        """What all players together add."""
        return self(frozenset(range(self.count)))

    @property
    def asked(self) -> int:
        """How many coalitions were looked at."""
        return len(self._known)

    def _known_of(self, coalition: Coalition) -> float:
        if coalition not in self._known:
            self._known[coalition] = self._of(coalition)
        return self._known[coalition]
