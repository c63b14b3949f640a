"""Agnostic federated learning: the best for the worst mixture of the agents."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.weighted_sum import WeightedSum
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import WEIGHT_OF, Round, State, Update

_START_LOSS = "start_loss"
_LAMBDA = "lambda/"


@dataclass(frozen=True)
class AgnosticFL(Aggregator):
    """Mean of the deltas by a mixture lambda of the agents, which climbs towards those with large losses.

    Shares start uniform and stay on the simplex of the agents that have been heard of; one that is new joins with the
    uniform share. A round whose agents all have a share of zero moves lambda alone. Learners send the loss by
    `StartLoss`. Ignores weights. Shares travel with each round, so every agent's host can read those of all.

    Args:
        lr: Learning rate of lambda, > 0.
    Shapes: updates of [d] -> [d]; memory [d] per block and a number an agent.
    Source: Mohri, Sivek and Suresh, ICML 2019, arXiv 1902.00146, Figure 2 (Stochastic-AFL), with an agent for a domain,
        local steps in the place of a gradient, and the deltas divided by the shares that arrived. Agents that do not
        take part add nothing to the gradient by lambda.
    """

    lr: float

    needs: ClassVar[tuple[str, ...]] = (_START_LOSS,)
    laws = frozenset({"failure", "identity"})
    formula = "delta = sum_k lambda_k delta_k / sum_k lambda_k;  lambda = project(lambda + lr * F) onto the simplex"

    def __post_init__(self) -> None:
        require(0 < self.lr < math.inf, "AgnosticFL.lr", self.lr, "must be > 0 and finite")

    def init(self, params: Tensor) -> State:
        """Nobody has been heard of; shares are kept as multiples of the uniform one."""
        del params
        return {"shares": {}}

    def tells(self, state: State) -> dict[str, float]:
        """Each known agent's share, as a multiple of the uniform one."""
        return {f"{_LAMBDA}{agent}": share for agent, share in state["shares"].items()}

    def collect(self, update: Update, round: Round) -> Partial:
        """The update times its share; the loss under the agent's name, so that it arrives whatever the share."""
        partial = WeightedSum.of(replace(update, weight=round.scalars.get(f"{_LAMBDA}{update.agent}", 1.0)))
        partial.scalars[f"{_LAMBDA}{update.agent}"] = (1.0, update.scalars[_START_LOSS])
        return partial

    def check(self, total: Partial) -> None:
        """Whatever arrived will do: without any share it moves lambda."""

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Divide by the shares that arrived, then let lambda climb."""
        del seed
        sums = cast(WeightedSum, total)
        merged = sums.mean() if sums.weight > 0 else Update("", 0.0, {DELTA: torch.zeros_like(params)})
        losses = {
            name.removeprefix(_LAMBDA): loss / count
            for name, (count, loss) in sums.scalars.items()
            if name.startswith(_LAMBDA)
        }
        told = {f"{WEIGHT_OF}{name}": state["shares"].get(name, 1.0) for name in losses}
        merged = replace(merged, scalars={**merged.scalars, **told})
        return merged, {"shares": self._climbed(state["shares"], losses)}

    def _climbed(self, shares: dict[str, float], losses: dict[str, float]) -> dict[str, float]:
        """One step of projected gradient ascent."""
        names = sorted({*shares, *losses})
        count = len(names)
        raised = [shares.get(name, 1.0) / count + self.lr * losses.get(name, 0.0) for name in names]
        return {name: share * count for name, share in zip(names, project(raised), strict=True)}


def project(point: list[float]) -> list[float]:
    """The nearest point of the simplex. Source: Duchi et al., ICML 2008, Figure 1."""
    total = threshold = 0.0
    for count, value in enumerate(sorted(point, reverse=True), start=1):
        total += value
        if value > (total - 1) / count:
            threshold = (total - 1) / count
    return [max(value - threshold, 0.0) for value in point]
