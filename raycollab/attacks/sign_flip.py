"""Steps in the opposite direction."""

import math
from dataclasses import dataclass

from torch import Tensor

from raycollab.attacks.forged import Forgery
from raycollab.settings import require


@dataclass(frozen=True)
class SignFlip(Forgery):
    """Sends every vector with its sign turned.

    Args:
        strength: Factor on the turned vector, > 0.
    Shapes: [d] -> [d].
    Source: Li et al., AAAI 2019, arXiv 1811.03761 (sign-flipping attack); "bit flipping" in Karimireddy et
        al., ICLR 2022, arXiv 2006.09365, section 6, with strength 1.
    """

    strength: float = 1.0

    name = "sign_flip"
    formula = "delta_i -> -strength * delta_i"

    def __post_init__(self) -> None:
        require(0 < self.strength < math.inf, "SignFlip.strength", self.strength, "must be > 0 and finite")

    def forge(self, vector: Tensor, *, seed: int) -> Tensor:
        """Turn it."""
        del seed
        return vector * -self.strength
