"""Selection by weight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from raycollab.by_name import check_known, check_names
from raycollab.errors import ConfigError
from raycollab.rng import numpy_generator
from raycollab.selection.base import Candidate, Selection
from raycollab.settings import require


@dataclass(frozen=True)
class ByWeight(Selection):
    """One agent after another, each with a probability proportional to its weight among those that are left.

    So in a round of several agents a heavy one is chosen a little less often than in proportion. Merge with
    `Mean("uniform")`: weights by examples would count them twice.

    Args:
        weights: Weight by agent's name; agents that are not named get 0 and are never chosen. None weighs by training
            examples.
    Raises: ConfigError for weights that are negative or all zero, or if fewer agents have one than a round takes;
        before a run, for a name that no agent has.
    Source: Li et al., ICLR 2020, arXiv 1907.02189, scheme I, which draws with replacement.
    """

    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            check_names("ByWeight.weights", self.weights)
            good = all(0 <= weight < inf for weight in self.weights.values()) and sum(self.weights.values()) > 0
            require(good, "ByWeight.weights", dict(self.weights), "must be finite, >= 0 and not all zero")

    def check_agents(self, names: Sequence[str]) -> None:
        """Weights by name must be of these agents."""
        check_known("ByWeight.weights", self.weights or {}, names)

    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Draw from the stream of this round."""
        given = {c.name: c.examples for c in candidates} if self.weights is None else self.weights
        weights = np.array([given.get(candidate.name, 0.0) for candidate in candidates], dtype=np.float64)
        if np.count_nonzero(weights) < count:
            raise ConfigError(
                f"{self!r}: {np.count_nonzero(weights)} of {len(candidates)} agents have a weight > 0, and a round "
                f"takes {count}: lower RunConfig.agents_per_round or give more of them a weight"
            )
        generator = numpy_generator(seed, "selection", round)
        drawn = generator.choice(len(candidates), size=count, replace=False, p=weights / weights.sum())
        return [candidates[index].name for index in sorted(drawn)]
