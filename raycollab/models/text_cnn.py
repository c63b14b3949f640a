"""A small convolutional net for texts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class TextCNN(Model):
    """Embeddings of tokens, convolutions of several widths over them, and the maximum of each over the text.

    Args:
        num_outputs: Outputs.
        vocab_size: Kinds of tokens.
        embedding: Length of a token's vector.
        channels: Of each convolution.
        kernels: Tokens that each convolution sees.
        dropout: Share of what goes into the last layer that is left out in training, in [0, 1).
    Shapes: tokens int64 [b, t] and attention_mask=int64 [b, t], 0 at padding -> [b, num_outputs].
    Source: Kim, EMNLP 2014, arXiv 1408.5882, section 2; embeddings begin at random here.
    """

    num_outputs: int
    vocab_size: int
    embedding: int = 32
    channels: int = 64
    kernels: tuple[int, ...] = (3, 4, 5)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(self.kernels))
        for name in ("num_outputs", "vocab_size", "embedding", "channels"):
            require(getattr(self, name) >= 1, f"TextCNN.{name}", getattr(self, name), "must be >= 1")
        good = bool(self.kernels) and all(kernel >= 1 for kernel in self.kernels)
        require(good, "TextCNN.kernels", self.kernels, "must be numbers of tokens >= 1, one a convolution")
        require(0 <= self.dropout < 1, "TextCNN.dropout", self.dropout, "must be in [0, 1)")

    def build(self) -> nn.Module:
        """Make the module."""
        return _TextCNN(self)


class _TextCNN(nn.Module):
    def __init__(self, form: TextCNN):
        super().__init__()
        self._before = max(form.kernels) - 1  # so that every convolution has a place in a text of one token
        self.embed = nn.Embedding(form.vocab_size, form.embedding)
        self.convolve = nn.ModuleList(nn.Conv1d(form.embedding, form.channels, kernel) for kernel in form.kernels)
        self.dropout = nn.Dropout(form.dropout)
        self.head = nn.Linear(form.channels * len(form.kernels), form.num_outputs)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Outputs [b, num_outputs]; padding is as much as nothing before the text."""
        embedded = self.embed(tokens) * attention_mask.unsqueeze(2)
        padded = functional.pad(embedded.transpose(1, 2), (self._before, 0))  # [b, embedding, before + t]
        seen = [self._strongest(layer, padded, attention_mask) for layer in self.convolve]
        return self.head(self.dropout(torch.cat(seen, 1)))

    def _strongest(self, layer: nn.Module, padded: Tensor, attention_mask: Tensor) -> Tensor:
        """Maximum over the places whose last token is text [b, channels]."""
        found = layer(padded)[:, :, -attention_mask.shape[1] :].relu()
        return (found * attention_mask.unsqueeze(1)).amax(2)
