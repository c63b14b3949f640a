"""MAML: descend on the loss after adaptation."""

from dataclasses import dataclass

from torch import Tensor

from raycollab.meta.descent import OneRate
from raycollab.meta.episodes import Episode
from raycollab.meta.functional import Functional, Parameters
from raycollab.settings import require


@dataclass(frozen=True, kw_only=True)
class MAML(OneRate):
    """The gradient of the query's loss after the inner steps, by the parameters before them.

    Args:
        order: 2 differentiates through the inner gradients; 1 takes them as constants, as FOMAML does.
    Raises: ModelError for order 2 through an operation that has no second derivative.
    Source: Finn et al., ICML 2017, arXiv 1703.03400, Algorithm 1 and equation 1; order 1 is its section 5.2.
    """

    order: int = 2

    formula = "gradient by w of L_query(w - lr * gradient of L_support(w))"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.order in (1, 2), f"{type(self).__name__}.order", self.order, "must be 1 or 2")

    def outer_gradient(self, model: Functional, params: Parameters, episode: Episode) -> tuple[Tensor, Parameters]:
        """Through the inner steps; of first order, the query's own gradient where they ended."""
        if self.order == 2:
            return super().outer_gradient(model, params, episode)
        support, query = episode
        adapted = self.adapt(model, params, support)
        return model.gradients(lambda at: model.loss(at, query), adapted)
