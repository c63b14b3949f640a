"""The private mean, where the norm to clip at follows a quantile of the agents' norms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from raycollab.aggregation.private_mean import PrivateMean
from raycollab.settings import require
from raycollab.types import State

_NORM, _UNCLIPPED = "clip_norm", "unclipped"
_SHARE = 20  # of the agents that are asked, one in so many is the noise on how many were not clipped


@dataclass(frozen=True, kw_only=True)
class PrivateAdaptiveMean(PrivateMean):
    """PrivateMean that clips at a norm which a given share of the deltas stays below; noise, too, goes with that norm.

    Agents say whether their delta was short enough, and the driver adds noise to how many were. Both together cost what
    `noise` alone does: that on the deltas is a little larger. Other settings are PrivateMean's.

    Args:
        max_norm: The norm of the first round.
        quantile: Share of deltas that pass unclipped in the long run, in [0, 1].
        lr: Rate of the norm's logarithm, > 0.
    Source: Andrew et al., NeurIPS 2021, arXiv 1905.03871, Algorithm 1, with noise of 1/20 of the agents on the count.
    """

    max_norm: float = 0.1
    quantile: float = 0.5
    lr: float = 0.2

    formula = "as PrivateMean;  C *= exp(-lr * (noisy share with |delta_i| <= C - quantile))"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.quantile <= 1, "PrivateAdaptiveMean.quantile", self.quantile, "must be in [0, 1]")
        require(0 < self.lr < math.inf, "PrivateAdaptiveMean.lr", self.lr, "must be > 0 and finite")

    def init(self, params: Tensor) -> State:
        """The norm of the first round."""
        return {**super().init(params), _NORM: float(self.max_norm)}

    def tells(self, state: State) -> dict[str, float]:
        """The norm that agents are clipped at."""
        return {_NORM: state[_NORM]}

    def limit(self, scalars: Mapping[str, float]) -> float:
        """The norm that the round brings."""
        return scalars[_NORM]

    def told(self, unclipped: bool) -> dict[str, float]:
        """Whether the delta was short enough, less a half: then one agent moves the sum by a half at most."""
        return {_UNCLIPPED: float(unclipped) - 0.5}

    def delta_noise(self, asked: int) -> float:
        """So much that it costs, together with the count's, what `noise` does: equation 1 of Theorem 1."""
        return (self.noise**-2 - (2 * self._count_noise(asked)) ** -2) ** -0.5

    def learned(self, told: Mapping[str, float], arrived: float, asked: int, state: State, seed: int) -> dict[str, Any]:
        """Move the norm towards the quantile of what was counted, with noise."""
        counted = told[_UNCLIPPED] * arrived
        drawn = self.source().normal(1, self._count_noise(asked), "count", seed, repr(counted), repr(state[_NORM]))
        share = (counted + float(drawn)) / asked + 0.5
        return {_NORM: state[_NORM] * math.exp(-self.lr * (share - self.quantile))}

    def _count_noise(self, asked: int) -> float:
        """Standard deviation of the noise on the count: more than half of `noise`, of which it takes a part."""
        return max(asked / _SHARE, self.noise)
