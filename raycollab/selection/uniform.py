"""Uniform selection."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.rng import numpy_generator
from raycollab.selection.base import Candidate, Selection


@dataclass(frozen=True)
class Uniform(Selection):
    """Every agent with the same probability, without replacement.

    Source: McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1.
    """

    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Draw from the stream of this round."""
        if count >= len(candidates):
            return [candidate.name for candidate in candidates]
        drawn = numpy_generator(seed, "selection", round).choice(len(candidates), size=count, replace=False)
        return [candidates[index].name for index in sorted(drawn)]
