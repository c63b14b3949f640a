"""Selection by loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raycollab.rng import numpy_generator
from raycollab.selection.base import Candidate, Selection
from raycollab.settings import require


@dataclass(frozen=True)
class LossAware(Selection):
    """One agent after another, each with a probability proportional to exp(loss / temperature) among those left.

    The loss is what an agent last reported; one that has reported none counts as the highest that is known.

    Args:
        temperature: Difference of losses that makes an agent e times as likely, > 0; large is uniform.
    Source: Goetz et al., 2019, arXiv 1909.12641, section 3: there the value of an agent is its loss times the root of
        its number of examples, those of the smallest values are left out, and a tenth of the agents is uniform. The
        draw without replacement is the Gumbel top-k of Kool et al., ICML 2019, arXiv 1903.06059, section 2.3.
    """

    temperature: float = 1.0

    by_loss = True

    def __post_init__(self) -> None:
        require(self.temperature > 0, "LossAware.temperature", self.temperature, "must be > 0")

    def select(self, candidates: Sequence[Candidate], count: int, *, round: int, seed: int) -> list[str]:
        """Add noise to the losses, and take the highest."""
        losses = np.array([candidate.loss for candidate in candidates])
        known = losses[~np.isnan(losses)]
        losses = np.nan_to_num(losses, nan=known.max() if len(known) else 0.0)
        noise = numpy_generator(seed, "selection", round).gumbel(size=len(candidates))
        order = np.argsort(-(losses / self.temperature + noise), kind="stable")
        return [candidates[index].name for index in sorted(order[:count])]
