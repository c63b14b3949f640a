"""Guided truncated gradient Shapley: Shapley values from a sample of permutations."""

from collections.abc import Sequence

import numpy as np

from raycollab.contribution.utility import Utility
from raycollab.rng import numpy_generator

_LATELY = 10  # passes over which the values must have settled


def gtg_shapley(
    utility: Utility, *, seed: int, truncate: float = 0.01, settled: float = 0.05, most_passes: int = 100
) -> list[float]:
    """Shapley values by permutations in which every player comes first equally often, until they have settled.

    A permutation is left once its players have nearly all that everybody has, and what is missing goes in equal parts
    to those that are left: so values sum to what all players add together.

    Args:
        utility: Of coalitions.
        seed: Of the permutations.
        truncate: Share of what all add together that may be missing when a permutation is left; 0 never leaves it.
        settled: Mean relative change of the values over the last ten passes below which they have settled.
        most_passes: Passes at most; each is one permutation for every player.
    Source: Liu et al., ACM TIST 2022, arXiv 2109.02053, Algorithm 1, lines 9 to 24, without its truncation between
        rounds. There, those that are left of a permutation get nothing, and the values sum to a little less.
    """
    count, drawn = utility.count, numpy_generator(seed, "permutations")
    sums = np.zeros(count)
    history: list[np.ndarray] = []
    for done in range(1, most_passes + 1):
        for first in range(count):
            others = [int(player) for player in drawn.permutation(count) if player != first]
            sums += _along([first, *others], utility, truncate)
        history.append(sums / (done * count))
        if _has_settled(history, settled):
            break
    return [float(value) for value in history[-1]]


def _along(order: Sequence[int], utility: Utility, truncate: float) -> np.ndarray:
    """What each player adds to those before it."""
    added, total, before = np.zeros(len(order)), utility.total, 0.0
    for place, player in enumerate(order):
        missing = total - before
        if place and abs(missing) <= truncate * abs(total):
            added[list(order[place:])] = missing / (len(order) - place)
            break
        after = utility(frozenset(order[: place + 1]))
        added[player], before = after - before, after
    return added


def _has_settled(history: Sequence[np.ndarray], settled: float) -> bool:
    if len(history) <= _LATELY:
        return False
    now = history[-1]
    scale = np.abs(now) + 1e-12
    return float(np.mean([np.abs(now - then) / scale for then in history[-_LATELY - 1 : -1]])) < settled
