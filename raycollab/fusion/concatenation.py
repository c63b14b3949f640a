"""Fusion by one layer over all features side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, check_width, per_modality


@dataclass(frozen=True)
class Concatenation(Fusion):
    """One linear layer over the features of all modalities side by side, then ReLU.

    The layer's matrix is kept as a block for each modality, which is the same; absent features are zeros.

    Args:
        width: Length of the vector that it makes.
    """

    width: int = 64

    def __post_init__(self) -> None:
        check_width(self)

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _Concatenation(widths, self.width)


class _Concatenation(Fused):
    def __init__(self, widths: Mapping[str, int], width: int):
        super().__init__(widths)
        self.project = per_modality(widths, lambda before: nn.Linear(before, width, bias=False))
        self.bias = nn.Parameter(torch.zeros(width))

    def fuse(self, given: list[Given]) -> Tensor:
        return torch.relu(sum((self.project[each.name](each.pooled) for each in given), self.bias))
