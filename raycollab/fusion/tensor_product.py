"""Fusion by all products of two modalities' features."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.base import Fused, Fusion, Given, check_width, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class TensorProduct(Fusion):
    """Tensor fusion of two modalities: one linear layer over the outer product of [x; 1] and [y; 1], then ReLU.

    The layer's matrix is kept in three blocks, which is the same: one for each modality alone, and one for their
    products, which only who holds both has. So nobody dilutes what only others learn.

    Args:
        width: Length of the vector that it makes.
        inner: Numbers to which each modality's features are brought first: there are inner ** 2 products.
    Raises: ConfigError for another number of modalities than two: take LowRank for more.
    Source: Zadeh et al., EMNLP 2017, arXiv 1707.07250, section 4.2.
    """

    width: int = 64
    inner: int = 16

    def __post_init__(self) -> None:
        check_width(self)
        require(self.inner >= 1, "TensorProduct.inner", self.inner, "must be >= 1")

    def check(self, modalities: Iterable[str]) -> None:
        """There must be two."""
        names = sorted(modalities)
        require(len(names) == 2, "TensorProduct: modalities", names, "must be two; take LowRank for more or fewer")

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _TensorProduct(widths, self.width, self.inner)


class _TensorProduct(Fused):
    def __init__(self, widths: Mapping[str, int], width: int, inner: int):
        super().__init__(widths)
        self.project = per_modality(widths, lambda before: nn.Linear(before, inner))
        self.alone = per_modality(widths, lambda before: nn.Linear(inner, width, bias=False))
        self.bias = nn.Parameter(torch.zeros(width))
        if len(widths) == 2:
            self.both = nn.Linear(inner**2, width, bias=False)

    def fuse(self, given: list[Given]) -> Tensor:
        inner = [self.project[each.name](each.pooled).relu() * each.present.unsqueeze(1) for each in given]
        total = sum((self.alone[each.name](value) for each, value in zip(given, inner, strict=True)), self.bias)
        if len(given) == 2:
            total = total + self.both(torch.einsum("bi,bj->bij", *inner).flatten(1))
        return torch.relu(total)
