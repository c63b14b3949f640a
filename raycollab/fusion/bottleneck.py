"""Fusion through a few tokens that all modalities share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.attention import Block
from raycollab.fusion.base import Fused, Fusion, Given, check_heads, check_width, mean_present, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class Bottleneck(Fusion):
    """Modalities exchange what they know through a few tokens alone, each with Transformer layers of its own.

    In a layer each modality's tokens and the shared ones look at each other; the shared ones of the next layer are
    their mean over the modalities that a row has.

    Args:
        width: Length of a token, and of the vector that it makes.
        num_tokens: Shared tokens.
        num_layers: Layers of each modality.
        num_heads: Attention heads, which divide the width.
    Source: Nagrani et al., NeurIPS 2021, arXiv 2107.00135, section 3.2; the vector is the mean of all modalities'
        tokens, where the paper has a token for the class in each.
    """

    width: int = 64
    num_tokens: int = 4
    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self) -> None:
        check_width(self)
        check_heads(self, self.num_heads)
        for name in ("num_tokens", "num_layers"):
            require(getattr(self, name) >= 1, f"Bottleneck.{name}", getattr(self, name), "must be >= 1")

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _Bottleneck(widths, self)


class _Bottleneck(Fused):
    def __init__(self, widths: Mapping[str, int], form: Bottleneck):
        super().__init__(widths)
        self.shared = nn.Parameter(0.02 * torch.randn(form.num_tokens, form.width))
        self.project = per_modality(widths, lambda before: nn.Linear(before, form.width))
        self.layers = per_modality(
            widths, lambda _: nn.ModuleList(Block(form.width, form.num_heads) for _ in range(form.num_layers))
        )
        self.norm = nn.LayerNorm(form.width)

    def fuse(self, given: list[Given]) -> Tensor:
        tokens = [self.project[each.name](each.tokens) for each in given]
        shared = self.shared.expand(len(tokens[0]), -1, -1)  # [b, num_tokens, width]
        for blocks in zip(*(self.layers[each.name] for each in given), strict=True):
            seen = [block(*_together(own, shared)) for block, own in zip(blocks, tokens, strict=True)]
            tokens = [both[:, : own.shape[1]] for both, own in zip(seen, tokens, strict=True)]
            shared = mean_present([both[:, own.shape[1] :] for both, own in zip(seen, tokens, strict=True)], given)
        return self.norm(mean_present([own.mean(1) for own in tokens], given))


def _together(own: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """A modality's tokens before the shared ones, and that all of them may look at each other."""
    both = torch.cat([own, shared], 1)
    return both, torch.ones(1, both.shape[1], both.shape[1], dtype=torch.bool, device=both.device)
