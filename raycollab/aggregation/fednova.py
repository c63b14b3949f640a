"""FedNova: the mean of normalised updates."""

from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from raycollab.aggregation.base import Aggregator, Partial, WeightedSum
from raycollab.spec import DELTA
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class FedNova(Aggregator):
    """Mean of each delta by its effective steps, times the mean number of them.

    Agents that take more steps than others no longer pull the mean towards their own minimum. The learner sends its
    "effective_steps", |a|_1 in the paper: exact for SGD with momentum and for FedProx over plain SGD, the number of
    steps for other optimizers.

    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Source: Wang et al., NeurIPS 2020, arXiv 2007.07481, equation 10 with tau_eff = sum_i p_i |a_i|_1.
    """

    formula = "delta = (mean_i a_i) * mean_i (delta_i / a_i), a_i = effective steps"
    needs: ClassVar[tuple[str, ...]] = ("effective_steps",)
    laws = frozenset({"weights", "failure", "identity"})

    def collect(self, update: Update, round: Round) -> Partial:
        """The delta of one step on average, times its weight."""
        del round
        steps = max(update.scalars["effective_steps"], 1.0)
        return WeightedSum.of(update.with_vectors(**{DELTA: update.vectors[DELTA] / steps}))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Go as many steps as agents went on average."""
        del params, seed
        mean = cast(WeightedSum, total).mean()
        return mean.with_vectors(**{DELTA: mean.vectors[DELTA] * mean.scalars["effective_steps"]}), state
