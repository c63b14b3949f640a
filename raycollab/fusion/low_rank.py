"""Fusion by the product of all modalities' features, through a tensor of low rank."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, check_width, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class LowRank(Fusion):
    """Low-rank tensor fusion: all products of features across modalities, without ever making them.

    h = sum_r w_r prod_m (W_m,r [x_m; 1]); a modality that is absent is a factor of one.

    Args:
        width: Length of the vector that it makes.
        rank: Terms of the sum.
    Source: Liu et al., ACL 2018, arXiv 1806.00064, section 3.3; biases begin at one here, so that a product of many
        factors begins as their sum.
    """

    width: int = 64
    rank: int = 4

    def __post_init__(self) -> None:
        check_width(self)
        require(self.rank >= 1, "LowRank.rank", self.rank, "must be >= 1")

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _LowRank(widths, self.width, self.rank)


class _LowRank(Fused):
    def __init__(self, widths: Mapping[str, int], width: int, rank: int):
        super().__init__(widths)
        self._shape = (rank, width)
        self.factor = per_modality(widths, lambda before: nn.Linear(before, rank * width))
        for name, bias in self.factor.named_parameters():
            if name.endswith(".bias"):
                nn.init.ones_(bias)
        self.rank = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.zeros(width))

    def fuse(self, given: list[Given]) -> Tensor:
        product: Tensor | float = 1.0
        for each in given:
            factor = self.factor[each.name](each.pooled).unflatten(1, self._shape)  # [b, rank, width]
            product = product * torch.where(each.present.view(-1, 1, 1), factor, 1.0)
        return torch.einsum("r,brw->bw", self.rank, product) + self.bias
