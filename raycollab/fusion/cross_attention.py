"""Fusion by attention of each modality's tokens to those of the others."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.fusion.attention import Block, look_at_others
from raycollab.fusion.base import Fused, Fusion, Given, check_heads, check_width, mean_present, per_modality
from raycollab.settings import require


@dataclass(frozen=True)
class CrossAttention(Fusion):
    """The tokens of each modality look at those of the others; the mean of what each has become is the vector.

    Features that are no tokens are one token. A modality that is alone looks at nothing, and is a multilayer
    perceptron's input.

    Args:
        width: Length of a token, and of the vector that it makes.
        num_heads: Attention heads, which divide the width.
        num_layers: Times that they look.
    Source: Tsai et al., ACL 2019, arXiv 1906.00295, section 3.2; the layers here are shared by all pairs of modalities,
        so that parties who hold different ones train the same.
    """

    width: int = 64
    num_heads: int = 4
    num_layers: int = 1

    def __post_init__(self) -> None:
        check_width(self)
        check_heads(self, self.num_heads)
        require(self.num_layers >= 1, "CrossAttention.num_layers", self.num_layers, "must be >= 1")

    def build(self, widths: Mapping[str, int], num_outputs: int) -> Fused:
        """Make the module."""
        del num_outputs
        return _CrossAttention(widths, self)


class _CrossAttention(Fused):
    def __init__(self, widths: Mapping[str, int], form: CrossAttention):
        super().__init__(widths)
        self.project = per_modality(widths, lambda before: nn.Linear(before, form.width))
        self.blocks = nn.ModuleList(Block(form.width, form.num_heads) for _ in range(form.num_layers))
        self.norm = nn.LayerNorm(form.width)

    def fuse(self, given: list[Given]) -> Tensor:
        tokens = [self.project[each.name](each.tokens) for each in given]
        sizes = [each.shape[1] for each in tokens]
        allowed = look_at_others(sizes, [each.present for each in given])
        hidden = torch.cat(tokens, 1)  # [b, t, width]
        for block in self.blocks:
            hidden = block(hidden, allowed)
        return self.norm(mean_present([part.mean(1) for part in hidden.split(sizes, 1)], given))
