"""A small decoder-only Transformer, as nanoGPT has it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.settings import require

_STD = 0.02


@dataclass(frozen=True)
class GPT(Model):
    """GPT-2's architecture: LayerNorm before attention and before a GELU layer of 4 widths, learned positions.

    Parameters are named as those of transformers' GPT2LMHeadModel; their matrices are transposed there.

    Args:
        vocab_size: Kinds of tokens.
        num_layers: Blocks.
        num_heads: Attention heads, which divide the width.
        width: Length of a token's vector.
        context: Tokens it can look at.
        dropout: In embeddings, attention and after both halves of a block.
        bias: Biases in linear layers and LayerNorms.
        tied: One matrix for the token embedding and the last layer.
    Shapes: tokens int [b, t] -> logits [b, t, vocab_size], t <= context.
    Raises: ModelError from its forward pass for more tokens than `context`.
    Source: Radford et al., 2019 (GPT-2); initial values, GELU and default sizes are those of nanoGPT
        (github.com/karpathy/nanoGPT) on a CPU.
    """

    vocab_size: int
    num_layers: int = 4
    num_heads: int = 4
    width: int = 128
    context: int = 64
    dropout: float = 0.0
    bias: bool = False
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "num_layers", "num_heads", "width", "context"):
            require(getattr(self, name) >= 1, f"GPT.{name}", getattr(self, name), "must be >= 1")
        fits = self.width % self.num_heads == 0
        require(fits, "GPT.width", self.width, f"must be a multiple of num_heads={self.num_heads}")
        require(0 <= self.dropout < 1, "GPT.dropout", self.dropout, "must be in [0, 1)")

    def build(self) -> nn.Module:
        """Make the module."""
        return _GPT(self)


class _GPT(nn.Module):
    def __init__(self, form: GPT):
        super().__init__()
        self.transformer = _Trunk(form)
        self.lm_head = nn.Linear(form.width, form.vocab_size, bias=False)
        if form.tied:
            self.transformer.wte.weight = self.lm_head.weight
        _initialise(self, form.num_layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the token after each."""
        return self.lm_head(self.transformer(tokens))


class _Trunk(nn.Module):
    def __init__(self, form: GPT):
        super().__init__()
        self._context = form.context
        self.wte = nn.Embedding(form.vocab_size, form.width)
        self.wpe = nn.Embedding(form.context, form.width)
        self.drop = nn.Dropout(form.dropout)
        self.h = nn.ModuleList(_Block(form) for _ in range(form.num_layers))
        self.ln_f = nn.LayerNorm(form.width, bias=form.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length > self._context:
            raise ModelError(
                f"GPT(context={self._context}) was given {length} tokens in a row: set context={length}, or cut the "
                f"text in windows of {self._context}"
            )
        places = torch.arange(length, device=tokens.device)
        hidden = self.drop(self.wte(tokens) + self.wpe(places))  # [b, t, width]
        for block in self.h:
            hidden = block(hidden)
        return self.ln_f(hidden)


class _Block(nn.Module):
    def __init__(self, form: GPT):
        super().__init__()
        self.ln_1 = nn.LayerNorm(form.width, bias=form.bias)
        self.attn = _Attention(form)
        self.ln_2 = nn.LayerNorm(form.width, bias=form.bias)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(form.width, 4 * form.width, bias=form.bias),
                "c_proj": nn.Linear(4 * form.width, form.width, bias=form.bias),
                "drop": nn.Dropout(form.dropout),
            }
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.attn(self.ln_1(hidden))
        wide = functional.gelu(self.mlp["c_fc"](self.ln_2(hidden)))  # [b, t, 4 width]
        return hidden + self.mlp["drop"](self.mlp["c_proj"](wide))


class _Attention(nn.Module):
    def __init__(self, form: GPT):
        super().__init__()
        self._num_heads = form.num_heads
        self._dropout = form.dropout
        self.c_attn = nn.Linear(form.width, 3 * form.width, bias=form.bias)
        self.c_proj = nn.Linear(form.width, form.width, bias=form.bias)
        self.drop = nn.Dropout(form.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        heads = self.c_attn(hidden).unflatten(2, (3, self._num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads  # [b, heads, t, width / heads]
        dropout = self._dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.drop(self.c_proj(seen.transpose(1, 2).flatten(2)))


def _initialise(module: nn.Module, num_layers: int) -> None:
    """Normal weights; those that end a residual branch smaller, so that the sum over all branches keeps its size."""
    branch = _STD / math.sqrt(2 * num_layers)
    for name, parameter in module.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            nn.init.normal_(parameter, std=branch if name.endswith("c_proj.weight") else _STD)
