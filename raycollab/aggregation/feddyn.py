"""FedDyn, the server's side: the mean, less what agents have drifted so far."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.errors import UpdateError
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update

_ALPHA = "alpha"
_ALPHAS = "alpha/"


@dataclass(frozen=True)
class FedDyn(Aggregator):
    """Uniform mean of the deltas, plus the sum of all means so far, each times the share of agents in it.

    Agents learn by `Dyn`, all with one alpha: the driver keeps h / alpha, which alpha is no part of. Goes with modes
    that do not discount: agents remember their part of h in full.

    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Raises: UpdateError for a round of agents with several alphas.
    Source: Acar et al., ICLR 2021, arXiv 2111.04263, Algorithm 1 (server). The share |P| / m counts the agents that
        were asked, so a failed one makes h move a little too far.
    """

    needs: ClassVar[tuple[str, ...]] = (_ALPHA,)
    takes_discounts = False
    maskable = True
    laws = frozenset({"failure"})
    formula = "h -= |P|/m * mean_i delta_i;  delta = mean_i delta_i - h   (h is the paper's over alpha)"

    def init(self, params: Tensor) -> State:
        """No drift."""
        return {"drift": torch.zeros_like(params)}

    def largest_weight(self, examples: float) -> float:
        """One."""
        del examples
        return 1.0

    def weighed(self, update: Update) -> Update:
        """With weight 1."""
        return replace(update, weight=1.0)

    def collect(self, update: Update, round: Round) -> Partial:
        """The update with weight 1, the share of agents in its round, and that there is somebody with its alpha."""
        alpha = f"{_ALPHAS}{update.scalars[_ALPHA]}"
        scalars = {**update.scalars, "participation": round.scalars["participation"], alpha: 1.0}
        return WeightedSum.of(replace(self.weighed(update), scalars=scalars))

    def check(self, total: Partial) -> None:
        """All agents must have one alpha."""
        super().check(total)
        scalars = cast(WeightedSum, total).scalars
        alphas = sorted(name.removeprefix(_ALPHAS) for name in scalars if name.startswith(_ALPHAS))
        if len(alphas) > 1:
            raise UpdateError(f"FedDyn: agents learn by Dyn with alpha {', '.join(alphas)}; give all of them the same")

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Move h, then step to the mean less h."""
        del params, seed
        mean = cast(WeightedSum, total).mean()
        delta = mean.vectors[DELTA]
        drift = state["drift"] - mean.scalars["participation"] * delta
        return mean.with_vectors(**{DELTA: delta - drift}), {"drift": drift}
