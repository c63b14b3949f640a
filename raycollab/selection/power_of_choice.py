"""Power-of-choice selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan

from raycollab.rng import derive_seed
from raycollab.selection.base import Candidate, Selection
from raycollab.selection.by_weight import ByWeight
from raycollab.settings import require


@dataclass(frozen=True)
class PowerOfChoice(Selection):
    """Draws some agents by their share of the examples, and takes those of them whose loss is highest.

    The loss is what an agent last reported; one that has reported none goes first, and equal ones are in an order drawn
    anew each round. More candidates make a faster start and a larger bias towards agents that fit badly.

    Args:
        candidates: Agents that are drawn, at least as many as a round takes; all of them if there are fewer.
    Raises: ConfigError if a round takes more agents than are drawn.
    Source: Cho et al., 2020, arXiv 2010.01243, section 3: the variant rpow-d, which unlike pow-d asks nobody for the
        loss of the newest model.
    """

    candidates: int

    by_loss = True

    def __post_init__(self) -> None:
        require(self.candidates >= 1, "PowerOfChoice.candidates", self.candidates, "must be >= 1")

    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Draw by share, then sort by loss."""
        accepted = f"a round takes {count} agents; draw at least that many"
        require(self.candidates >= count, "PowerOfChoice.candidates", self.candidates, accepted)
        drawn = set(ByWeight().select(candidates, min(self.candidates, len(candidates)), round=round, seed=seed))

        def order(candidate: Candidate) -> tuple[float, int]:
            loss = inf if isnan(candidate.loss) else candidate.loss
            return -loss, derive_seed(seed, "tie", round, candidate.name)

        ordered = sorted((candidate for candidate in candidates if candidate.name in drawn), key=order)
        chosen = {candidate.name for candidate in ordered[:count]}
        return [candidate.name for candidate in candidates if candidate.name in chosen]
