"""Fusion of what each modality would say alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class LateLogits(Fusion):
    """Late fusion: a linear head for each modality, and the weighted mean of their outputs.

    Weights count over the modalities that a row has. No other head stands on it.

    Args:
        weights: Of each modality, > 0; without any they are learned, by a softmax.
    Raises: ConfigError for weights of modalities that nobody holds, or of only some of those that there are.
    Source: Kittler et al., 1998, IEEE TPAMI 20(3), section 3.3 (sum rule), on logits.
    """

    weights: Mapping[str, float] = field(default_factory=dict, hash=False)

    width = 0
    decides = True

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            require(0 < weight < math.inf, f"LateLogits.weights[{name!r}]", weight, "must be > 0 and finite")

    def check(self, modalities: Iterable[str]) -> None:
        """Weights must be of all modalities, and of no others."""
        names = sorted(modalities)
        good = not self.weights or sorted(self.weights) == names
        accepted = f"must name the modalities that there are, all of them: {', '.join(names)}"
        require(good, "LateLogits.weights", dict(self.weights), accepted)

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        return _LateLogits(widths, num_outputs, self.weights)


class _LateLogits(Fused):
    def __init__(self, widths: Mapping[str, int], num_outputs: int, weights: Mapping[str, float]):
        super().__init__(widths)
        self.head = per_modality(widths, lambda before: nn.Linear(before, num_outputs))
        self._fixed = {name: math.log(weight) for name, weight in weights.items()}
        learned = () if weights else self.widths
        self.weight = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in learned})

    def fuse(self, given: list[Given]) -> Tensor:
        logits = torch.stack([self.head[each.name](each.pooled) for each in given])  # [m, b, c]
        absent = ~torch.stack([each.present for each in given])
        raw = torch.stack([self._weight(each.name, logits) for each in given]).unsqueeze(1)
        shares = raw.expand(absent.shape).masked_fill(absent, float("-inf")).softmax(0)
        return (shares.unsqueeze(2) * logits).sum(0)

    def _weight(self, name: str, like: Tensor) -> Tensor:
        """The logarithm of a modality's weight []."""
        return like.new_tensor(self._fixed[name]) if self._fixed else self.weight[name]
