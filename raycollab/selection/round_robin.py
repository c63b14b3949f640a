"""Selection in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycollab.selection.base import Candidate, Selection


@dataclass(frozen=True)
class RoundRobin(Selection):
    """The next agents in their order, from the first again after the last: nobody waits longer than anybody else."""

    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Those after the last ones of the round before."""
        del seed
        chosen = {((round - 1) * count + place) % len(candidates) for place in range(count)}
        return [candidate.name for index, candidate in enumerate(candidates) if index in chosen]
