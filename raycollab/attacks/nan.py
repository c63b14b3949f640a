"""An update that is no number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.attacks.forged import Forgery


@dataclass(frozen=True)
class NotANumber(Forgery):
    """Sends NaN under every name. The check on the agent's host keeps it out of the sum: a failure in each round.

    Shapes: [d] -> [d].
    Source: none; what a diverged or broken agent sends.
    """

    name = "nan"
    formula = "delta_i -> NaN"

    def forge(self, vector: Tensor, *, seed: int) -> Tensor:
        """Nothing but NaN."""
        del seed
        return torch.full_like(vector, torch.nan)
