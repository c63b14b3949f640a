"""Fusion by experts that all modalities share: each token goes to those that suit it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.fusion.base import Fused, Fusion, Given, check_width, mean_present, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class MixtureOfExperts(Fusion):
    """A layer of experts behind a router, given the tokens of all modalities; the mean over what is there.

    Each token goes to the `top` experts that the router likes best, times the router's probability, and is added to
    what they make of it. Routers send modalities apart by themselves: that is what experts specialise in.

    Args:
        width: Length of a token, and of the vector that it makes.
        num_experts: Experts, each a ReLU layer of two widths.
        top: Experts that a token goes to.
    Source: Mustafa et al., NeurIPS 2022, arXiv 2206.02770 (LIMoE), section 2.1, without its auxiliary losses.
    """

    width: int = 64
    num_experts: int = 4
    top: int = 1

    def __post_init__(self) -> None:
        check_width(self)
        require(self.num_experts >= 1, "MixtureOfExperts.num_experts", self.num_experts, "must be >= 1")
        good = 1 <= self.top <= self.num_experts
        require(good, "MixtureOfExperts.top", self.top, f"must be in 1 to num_experts={self.num_experts}")

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _MixtureOfExperts(widths, self)


class _MixtureOfExperts(Fused):
    def __init__(self, widths: Mapping[str, int], form: MixtureOfExperts):
        super().__init__(widths)
        self._top = form.top
        wide = 2 * form.width
        self.project = per_modality(widths, lambda before: nn.Linear(before, form.width))
        self.router = nn.Linear(form.width, form.num_experts)
        self.wide = nn.Parameter(torch.randn(form.num_experts, form.width, wide) * (2 / form.width) ** 0.5)
        self.narrow = nn.Parameter(torch.randn(form.num_experts, wide, form.width) * wide**-0.5)
        self.norm = nn.LayerNorm(form.width)

    def fuse(self, given: list[Given]) -> Tensor:
        return self.norm(mean_present([self._expert(self.project[g.name](g.tokens)).mean(1) for g in given], given))

    def _expert(self, tokens: Tensor) -> Tensor:
        """Tokens [b, t, width], each with what its experts make of it."""
        chances = self.router(tokens).softmax(2)  # [b, t, experts]
        best = chances.topk(self._top, 2).indices
        gates = chances * functional.one_hot(best, chances.shape[2]).sum(2)
        wide = torch.einsum("btw,ewh->bteh", tokens, self.wide).relu()
        return tokens + torch.einsum("bteh,ehw,bte->btw", wide, self.narrow, gates)
