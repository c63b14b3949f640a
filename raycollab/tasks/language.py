"""Language modelling: predict every token from those before it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import DataError, RowError
from raycollab.metrics import Average
from raycollab.models.base import Model
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.token_prediction import TokenPrediction, check_logits
from raycollab.types import Batch

_UNITS = ("token", "character", "byte")


@dataclass(frozen=True)
class CausalLM(TokenPrediction):
    """Cross-entropy of the next token; perplexity, accuracy, and bits per character or byte where tokens are such.

    A batch holds windows of text; the net is given all tokens but the last of each and predicts all but the first.
    What is counted, as for Mean("tokens"), are predicted tokens.

    Args:
        net: Makes a module: tokens int64 [b, t] -> logits [b, t, c], c >= vocab_size, or what transformers' models
            return, which holds them as `.logits`.
        vocab_size: Tokens are 0 .. vocab_size - 1: the vocab_size of the tokenizer that the parties share.
        unit: "character" or "byte" if a token is one; adds the metric bits_per_character or bits_per_byte.
        inputs: Column of the windows.
    """

    net: Model
    vocab_size: int
    unit: str = "token"
    inputs: str = "tokens"

    def __post_init__(self) -> None:
        accepted = "must be a recipe such as rc.models.GPT(vocab_size=65) or rc.models.Transformers('FOLDER')"
        require(isinstance(self.net, Model), "CausalLM.net", self.net, accepted)
        require(self.vocab_size >= 2, "CausalLM.vocab_size", self.vocab_size, "must be >= 2")
        own = vars(self.net).get("vocab_size", self.vocab_size)  # a setting; a folder is not read here
        accepted = f"must be <= the net's own, {own}; take the tokenizer's for both"
        require(self.vocab_size <= own, "CausalLM.vocab_size", self.vocab_size, accepted)
        require(self.unit in _UNITS, "CausalLM.unit", self.unit, f"must be one of {_UNITS}")

    @property
    def loss_name(self) -> str:
        """Cross-entropy of the next token."""
        return f"next_token_cross_entropy(vocab_size={self.vocab_size})"

    def count(self, batch: Batch) -> int:
        """Number of tokens that are predicted."""
        num_windows, length = batch[self.inputs].shape
        return num_windows * (length - 1)

    def parts(self, total: float, right: int, num_tokens: int) -> dict[str, Any]:
        """Those of every prediction of tokens, and bits where a token is a character or a byte."""
        parts = super().parts(total, right, num_tokens)
        if self.unit == "token":
            return parts
        return {**parts, "bits": Average(f"bits_per_{self.unit}", total / math.log(2), num_tokens)}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "prediction" [b, t], the likeliest token after each, and "loss" [b], the mean over a window."""
        logits, targets = self.predicted(model, batch)
        losses = functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")  # [b, t]
        return {"prediction": logits.argmax(2), "loss": losses.mean(1)}

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        bits = () if self.unit == "token" else (f"bits_per_{self.unit}",)
        found = super().fingerprint(spec)
        return replace(found, metrics=(*found.metrics, *bits))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """All windows, bool [n].

        Raises: DataError for a missing column, one that holds no windows of whole numbers, or tokens that the model
            does not know.
        """
        if self.inputs not in columns:
            raise DataError(f"{where}: the task needs column {self.inputs!r}; there are: {', '.join(sorted(columns))}")
        tokens = columns[self.inputs]
        if tokens.ndim != 2 or tokens.shape[1] < 2 or tokens.is_floating_point():
            raise DataError(
                f"{where}: column {self.inputs!r} holds {str(tokens.dtype).removeprefix('torch.')} of shape "
                f"{list(tokens.shape)}; give windows of two tokens or more as whole numbers [n, context + 1], as "
                f"rc.data.Text reads them"
            )
        low, high = (int(bound) for bound in torch.aminmax(tokens)) if len(tokens) else (0, 0)
        if low < 0 or high >= self.vocab_size:
            bad = low if low < 0 else high
            row = int((tokens == bad).any(1).nonzero()[0])
            what = (
                f" holds token {bad}, outside 0..{self.vocab_size - 1}: read the text with the "
                f"tokenizer that the experiment fixes, or set vocab_size to its own"
            )
            raise RowError.of(where, row, what)
        return torch.ones(len(tokens), dtype=torch.bool)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How long the windows are."""
        return f"windows of {columns[self.inputs].shape[1] - 1} tokens"

    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [b, t, c] and the tokens that came [b, t]."""
        tokens = batch[self.inputs].long()
        output = model(tokens[:, :-1])
        logits, targets = getattr(output, "logits", output), tokens[:, 1:]
        check_logits(logits, targets, self.vocab_size, f"vocab_size={self.vocab_size}")
        return logits, targets
