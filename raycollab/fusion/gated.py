"""Fusion by gates: how much of each modality goes into each element."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, check_width, per_modality


@dataclass(frozen=True)
class Gated(Fusion):
    """Gated multimodal unit: tanh features of each modality, mixed element by element by gates that sum to one.

    Gates are a softmax over the modalities that a row has. Of two modalities that is the paper's unit,
    z = sigmoid(W [x; y]), whose matrix is kept as a block for each; of one alone the gate is 1.

    Args:
        width: Length of the vector that it makes.
    Source: Arevalo et al., 2017, arXiv 1702.01992, section 3.1; for more than two modalities the gates there are
        sigmoids, which do not sum to one.
    """

    width: int = 64

    def __post_init__(self) -> None:
        check_width(self)

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _Gated(widths, self.width)


class _Gated(Fused):
    def __init__(self, widths: Mapping[str, int], width: int):
        super().__init__(widths)
        self.project = per_modality(widths, lambda before: nn.Linear(before, width))
        self.gate = per_modality(widths, lambda before: nn.Linear(before, width))

    def fuse(self, given: list[Given]) -> Tensor:
        values = torch.stack([self.project[each.name](each.pooled).tanh() for each in given])  # [m, b, width]
        gates = torch.stack([self.gate[each.name](each.pooled) for each in given])
        absent = ~torch.stack([each.present for each in given]).unsqueeze(2)
        return (gates.masked_fill(absent, float("-inf")).softmax(0) * values).sum(0)
