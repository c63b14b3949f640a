"""Attention between tokens of several modalities, some of which may be absent."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A Transformer layer: LayerNorm before attention, and before a GELU layer of two widths.

    Beside the tokens that may be looked at there is always one of zeros, so that a row with nothing to look at sees
    nothing.

    Args:
        width: Length of a token.
        num_heads: Attention heads, which divide the width.
    Shapes: tokens [b, t, width] and which may look at which, bool [b or 1, t, t] -> [b, t, width].
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self._num_heads = num_heads
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """The tokens after they have looked at each other."""
        tokens = tokens + self._attended(self.before_attention(tokens), allowed)
        return tokens + self.layer(self.before_layer(tokens))

    def _attended(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        heads = self.query_key_value(tokens).unflatten(2, (3, self._num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads  # [b, heads, t, width / heads]
        key, value = functional.pad(key, (0, 0, 0, 1)), functional.pad(value, (0, 0, 0, 1))
        mask = functional.pad(allowed, (0, 1), value=True).unsqueeze(1)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(seen.transpose(1, 2).flatten(2))


def look_at_others(sizes: list[int], present: list[Tensor]) -> Tensor:
    """Tokens that may look at those of other modalities that are present: bool [b, t, t].

    Args:
        sizes: Tokens of each modality, one after another.
        present: Which rows have it [b].
    """
    counts = torch.tensor(sizes, device=present[0].device)
    owners = torch.arange(len(sizes), device=counts.device).repeat_interleave(counts)  # [t]
    there = torch.stack(present, 1)[:, owners]  # [b, t]
    return (owners[:, None] != owners).unsqueeze(0) & there.unsqueeze(1)
