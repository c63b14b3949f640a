"""Rows of tokens as nets take them: cut to the longest, padding told apart from text."""

from typing import Any

from torch import Tensor, nn


def is_token(tokens: Tensor) -> Tensor:
    """Which places hold a token, and no padding [b, t]."""
    return tokens >= 0


def trimmed(tokens: Tensor) -> Tensor:
    """The rows as int64, without what is padding in all of them [b, longest]."""
    return tokens[:, : max(1, int(is_token(tokens).sum(1).max()))].long()


def pad_token(model: nn.Module) -> int:
    """What stands in for padding, behind a mask: what the model calls so, because some look for it."""
    pad = getattr(getattr(model, "config", None), "pad_token_id", None)
    return 0 if pad is None else int(pad)


def logits_of(model: nn.Module, tokens: Tensor, **more: Tensor) -> Tensor:
    """What a net makes of rows of tokens that end in padding, or the logits in what models of transformers return."""
    text = is_token(tokens)
    output: Any = model(tokens.masked_fill(~text, pad_token(model)), attention_mask=text.long(), **more)
    logits: Tensor = getattr(output, "logits", output)
    return logits
