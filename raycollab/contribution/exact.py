"""Values that look at as many coalitions as they need."""

from itertools import combinations
from math import comb

from raycollab.contribution.utility import Utility
from raycollab.errors import ConfigError

MOST_EXACT = 8  # players: 256 coalitions


def leave_one_out(utility: Utility) -> list[float]:
    """What all players lose without each: n + 1 coalitions. Two copies of a player are worth nothing each."""
    everybody = frozenset(range(utility.count))
    return [utility.total - utility(everybody - {player}) for player in range(utility.count)]


def shapley(utility: Utility) -> list[float]:
    """Shapley values: what each adds to a coalition, averaged over all coalitions and their sizes; 2^n of them.

    They sum to what all players add together; one who adds nothing anywhere gets 0; copies get the same.

    Raises: ConfigError for more than 8 players.
    Source: Shapley, 1953; in rounds of federated learning Song et al., IEEE Big Data 2019.
    """
    count = utility.count
    if count > MOST_EXACT:
        raise ConfigError(
            f"shapley: {count} players make {2**count:,} coalitions; {MOST_EXACT} are the most, take 'gtg' for more"
        )
    values = []
    for player in range(count):
        others = [other for other in range(count) if other != player]
        by_size = [
            sum(utility(frozenset((*some, player))) - utility(frozenset(some)) for some in combinations(others, size))
            / comb(count - 1, size)
            for size in range(count)
        ]
        values.append(sum(by_size) / count)
    return values
