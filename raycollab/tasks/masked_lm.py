"""Masked language modelling: predict tokens that were hidden from those around them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from raycollab.data.token_rows import PAD
from raycollab.data.tokenizers import Tokenizer
from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.models.tokens import is_token, logits_of, trimmed
from raycollab.settings import require
from raycollab.tasks.token_prediction import TokenPrediction, check_logits
from raycollab.tasks.tokens import NET, check_tokens, labelled, widened
from raycollab.types import Batch

_MASKED, _KEPT = 0.8, 0.1  # the others become any token
_MIX = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_BITS = 24  # of a float's mantissa


@dataclass(frozen=True)
class MaskedLM(TokenPrediction):
    """Cross-entropy of hidden tokens; perplexity and accuracy.

    Of each text the same share is chosen, at least one token: 80 % are masked, 10 % become any token, 10 % stay. In
    training the choice comes from torch's seed, which is that of the agent and round; in evaluation it depends on the
    text alone, so that every batching and every round asks the same.

    Args:
        net: Makes a module: tokens int64 [b, t] and attention_mask=int64 [b, t], 0 at padding -> logits [b, t, c], or
            what transformers' models return, which holds them as `.logits`.
        tokenizer: That of the texts, which knows its mask and its marks; one without a mask needs a net that knows a
            token more.
        inputs: Column of the tokens [n, length]; short texts end in -1.
        share: Share of the tokens that are hidden, in (0, 1).
    Source: Devlin et al., NAACL 2019, section 3.1, arXiv 1810.04805.
    """

    net: Model
    tokenizer: Tokenizer
    inputs: str = "text"
    share: float = 0.15

    label: ClassVar[None] = None

    def __post_init__(self) -> None:
        require(isinstance(self.net, Model), "MaskedLM.net", self.net, NET.format(head="masked-lm"))
        good = isinstance(self.tokenizer, Tokenizer)
        require(good, "MaskedLM.tokenizer", self.tokenizer, "must be a Tokenizer such as rc.data.Bytes()")
        require(0 < self.share < 1, "MaskedLM.share", self.share, "must be in (0, 1)")

    @property
    def loss_name(self) -> str:
        """Cross-entropy of a share of all tokens."""
        return f"masked_token_cross_entropy(share={self.share}, vocab_size={self.tokenizer.vocab_size})"

    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [b, t, c], and the hidden tokens [b, t]."""
        inputs, targets = self.hidden(trimmed(batch[self.inputs]), fixed=not model.training)
        logits = logits_of(model, inputs)
        known = self.tokenizer.vocab_size
        check_logits(logits, targets, known, f"vocab_size={known} of the tokenizer")
        return logits, targets

    def hidden(self, tokens: Tensor, *, fixed: bool) -> tuple[Tensor, Tensor]:
        """What the net is given and what it is to say [b, t] of tokens [b, t]: by torch's choice, or by a fixed one."""
        free = self._free(tokens)
        choice, kind, other = _fixed(tokens) if fixed else torch.rand(3, *tokens.shape).to(tokens.device)
        rank = choice.masked_fill(~free, 2.0).argsort(dim=1, stable=True).argsort(1)
        chosen = rank < self._numbers(free)[:, None]
        replaced = torch.where(kind < _MASKED, self.tokenizer.mask_token, (other * self.tokenizer.vocab_size).long())
        return torch.where(chosen & (kind < 1 - _KEPT), replaced, tokens), labelled(tokens, chosen)

    def count(self, batch: Batch) -> int:
        """Number of tokens that are hidden."""
        return int(self._numbers(self._free(batch[self.inputs])).sum())

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Column "prediction" [b, length]: the likeliest token at every place of the text as it is; -1 at padding."""
        tokens = trimmed(batch[self.inputs])
        likeliest = logits_of(model, tokens).argmax(2).masked_fill(~is_token(tokens), PAD)
        return {"prediction": widened(likeliest, batch[self.inputs].shape[1], PAD)}

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those that hold more than marks; bool [n].

        Raises: DataError for a missing column, or one that does not hold tokens of the tokenizer; ModelError if the net
            does not know all of them, and the mask.
        """
        known, needed = (
            getattr(self.net, "vocab_size", None),
            max(self.tokenizer.vocab_size, self.tokenizer.mask_token + 1),
        )
        if known is not None and known < needed:
            raise ModelError(
                f"{where}: the net knows {known} tokens, and {type(self.tokenizer).__name__} has {needed}, its mask "
                f"with them: give the net as many, or take its own tokenizer"
            )
        check_tokens(columns, self.inputs, where, needed)
        return self._free(columns[self.inputs]).any(1)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How long the texts are."""
        return f"{int(is_token(columns[self.inputs]).sum()):,} tokens"

    def _free(self, tokens: Tensor) -> Tensor:
        """Which tokens may be hidden: those of text [b, t]."""
        free = is_token(tokens)
        for mark in self.tokenizer.marks:
            free = free & (tokens != mark)
        return free

    def _numbers(self, free: Tensor) -> Tensor:
        """How many are hidden of each text [b]."""
        number = free.sum(1)
        return (self.share * number).round().clamp(min=1).minimum(number).long()


def _fixed(tokens: Tensor) -> Tensor:
    """Numbers in [0, 1) that only a text and its places decide [3, b, t]: a hash, the same on every device."""
    place = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    stream = torch.arange(3, device=tokens.device)[:, None, None] << 32
    text = ((tokens + 1) * _mixed(place)).sum(1)  # [b]; padding, -1, adds nothing
    bits = _mixed(text[None, :, None] + _mixed(place + stream))
    return (bits & (2**_BITS - 1)).float() / 2**_BITS


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64, with shifts that keep the sign."""
    bits = (bits ^ (bits >> 30)) * _MIX[0]
    bits = (bits ^ (bits >> 27)) * _MIX[1]
    return bits ^ (bits >> 31)
