"""Meta-SGD: the inner rates are learned as the start is."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from raycollab.errors import ModelError
from raycollab.meta.descent import InnerSteps
from raycollab.meta.functional import Parameters
from raycollab.models import RATE, rate_name


@dataclass(frozen=True, kw_only=True)
class MetaSGD(InnerSteps):
    """MAML with a rate for every element, or every tensor, that the outer steps learn with the start.

    The rates are parameters beside the model's, `rate/NAME` of a net in `rc.models.WithRates`: exchanged and merged as
    all are, or, with `Exchange(exclude=("rate/*",))`, each agent's own.

    Raises: ModelError if the net has no rates, or for an operation that has no second derivative.
    Source: Li et al., 2017, arXiv 1707.09835, Algorithm 1, equations 3 and 4.
    """

    formula = "gradient by w and a of L_query(w - a * gradient of L_support(w)), a element by element"

    @property
    def inner(self) -> tuple[str, ...]:
        """All that have a rate."""
        return ("*",)

    def rates(self, params: Parameters, names: Sequence[str]) -> dict[str, float | Tensor]:
        """What was learned; what has none stays where it is."""
        found: dict[str, float | Tensor] = {name: params.get(rate_name(name), 0.0) for name in names}
        if not any(isinstance(rate, Tensor) for rate in found.values()):
            raise ModelError(f"MetaSGD: the net has no parameters {RATE}*; wrap it in rc.models.WithRates(net, 0.01)")
        return found
