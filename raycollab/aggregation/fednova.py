"""FedNova: the mean of normalised updates."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import Sum, WeightedSum
from raycollab.spec import DELTA, Segments
from raycollab.types import Round, State, Update

_STEPS = "effective_steps"


@dataclass(frozen=True)
class FedNova(Aggregator):
    """Mean of each delta by its effective steps, times the mean number of them.

    Agents that take more steps than others no longer pull the mean towards their own minimum. The learner sends its
    "effective_steps", |a|_1 in the paper: exact for SGD and for FedProx over it, with momentum and under any schedule;
    for other optimizers the number of steps, each by its schedule's factor. An agent without steps counts as one with a
    single step. Agents may hold different parts of the model: an element goes as many steps as those went on average
    who hold it.

    Shapes: updates of [d] -> [d]; memory [d] per block, whatever the number of agents.
    Source: Wang et al., NeurIPS 2020, arXiv 2007.07481, equation 10 with tau_eff = sum_i p_i |a_i|_1.
    """

    formula = "delta = (mean_i a_i) * mean_i (delta_i / a_i), a_i = effective steps"
    needs: ClassVar[tuple[str, ...]] = (_STEPS,)
    maskable = True
    laws = frozenset({"weights", "failure", "identity"})

    def collect(self, update: Update, round: Round) -> Partial:
        """The delta of one step on average, times its weight."""
        del round
        steps = update.scalars[_STEPS] if update.scalars[_STEPS] > 0 else 1.0
        one = update.with_vectors(**{DELTA: update.vectors[DELTA] / steps})
        others = {name: value for name, value in update.scalars.items() if name != _STEPS}
        return WeightedSum.of(replace(one, scalars={**others, _steps_of(update.segments(DELTA)): steps}))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Go as many steps as agents went on average."""
        del params, seed
        sums = cast(WeightedSum, total)
        mean = sums.mean()
        weighed = {
            segments: Sum(sum.weight, torch.tensor(sums.scalars[_steps_of(segments)][1]).expand(sum.vector.numel()))
            for segments, sum in sums.vectors[DELTA].items()
        }
        steps = WeightedSum(vectors={_STEPS: weighed}, weight=sums.weight).mean().vectors[_STEPS]
        return mean.with_vectors(**{DELTA: mean.vectors[DELTA] * steps}), state


def _steps_of(segments: Segments | None) -> str:
    """Under what name the steps are summed of agents that hold the same elements."""
    return _STEPS if segments is None else f"{_STEPS} of {segments.ranges}"
