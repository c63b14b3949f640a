"""FOMAML: MAML without second derivatives."""

from dataclasses import dataclass

from raycollab.meta.maml import MAML
from raycollab.settings import require


@dataclass(frozen=True, kw_only=True)
class FOMAML(MAML):
    """MAML whose inner gradients are constants: the query's gradient where the inner steps ended, and half the cost.

    Source: Finn et al., ICML 2017, arXiv 1703.03400, section 5.2; Nichol et al., 2018, arXiv 1803.02999, section 2.
    """

    order: int = 1

    formula = "gradient of L_query at w - lr * gradient of L_support(w)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.order == 1, "FOMAML.order", self.order, "must be 1; MAML takes 2")
