"""Which task of a sequence a round belongs to."""

from bisect import bisect_right
from collections.abc import Sequence

from raycollab.settings import require


def check_rounds(setting: str, at_rounds: Sequence[int]) -> tuple[int, ...]:
    """The rounds with which later tasks begin.

    Raises: ConfigError unless they are ascending.
    """
    rounds = tuple(at_rounds)
    good = bool(rounds) and list(rounds) == sorted(set(rounds)) and rounds[0] >= 2
    require(good, setting, rounds, "must be the ascending rounds >= 2 with which the second and later tasks begin")
    return rounds


def task_of(round: int, at_rounds: Sequence[int]) -> int:
    """Number of the task of a round, from 0."""
    return bisect_right(at_rounds, round)
