"""From one sequence to another: translation, and captions of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from raycollab.data.token_rows import PAD
from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.models.tokens import is_token, logits_of, pad_token, trimmed
from raycollab.settings import require, require_one_of
from raycollab.tasks.inputs import check_names, finite_rows
from raycollab.tasks.token_prediction import TokenPrediction, check_logits
from raycollab.tasks.tokens import NET, check_tokens, labelled, widened
from raycollab.types import Batch


@dataclass(frozen=True)
class SequenceToSequence(TokenPrediction):
    """Cross-entropy of each target token, given the source and the target before it; perplexity and accuracy.

    What is counted, as for Mean("tokens"), are target tokens. Predictions are written token by token, the likeliest
    each time; they end where the target's texts do, if the tokenizer marks that.

    Args:
        net: Makes a module: tokens int64 [b, s], attention_mask=int64 [b, s] and decoder_input_ids=int64 [b, t] ->
            logits [b, t, c], or what transformers' models return, which holds them as `.logits`. For images it is
            called with pixel_values=float32 [b, channels, height, width] in place of the first two.
        inputs: Column of the source: tokens [n, length], or images [n, channels, height, width].
        target: Column of the target's tokens [n, length]; short texts end in -1.
        start: The token that stands before a target; None takes the model's own decoder_start_token_id.
        max_tokens: Tokens that a prediction may have.
        bad_rows: "error" refuses a shard with a NaN or infinity among its images, "drop" leaves such rows out and
            counts them.
    """

    net: Model
    inputs: str = "source"
    target: str = "target"
    start: int | None = None
    max_tokens: int = 64
    bad_rows: str = "error"

    label: ClassVar[None] = None

    def __post_init__(self) -> None:
        require(isinstance(self.net, Model), "SequenceToSequence.net", self.net, NET.format(head="seq2seq-lm"))
        good = self.inputs != self.target
        require(good, "SequenceToSequence.target", self.target, "must be another column than inputs")
        good = self.start is None or self.start >= 0
        require(good, "SequenceToSequence.start", self.start, "must be a token >= 0, or null for the model's own")
        require(self.max_tokens >= 1, "SequenceToSequence.max_tokens", self.max_tokens, "must be >= 1")
        require_one_of("SequenceToSequence.bad_rows", self.bad_rows, ("error", "drop"))

    @property
    def loss_name(self) -> str:
        """Cross-entropy of the target."""
        return "target_token_cross_entropy"

    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [b, t, c] and the target [b, t]."""
        targets = trimmed(batch[self.target])
        text = is_token(targets)
        before = targets.masked_fill(~text, pad_token(model))[:, :-1]
        started = torch.full_like(targets[:, :1], self._start(model))
        given = torch.cat([started, before], 1)
        source = batch[self.inputs]
        if source.is_floating_point():
            output: Any = model(pixel_values=source, decoder_input_ids=given)
            logits: Tensor = getattr(output, "logits", output)
        else:
            logits = logits_of(model, trimmed(source), decoder_input_ids=given)
        check_logits(logits, targets, None, f"column {self.target!r}")
        return logits, labelled(targets, text)

    def count(self, batch: Batch) -> int:
        """Number of target tokens."""
        return int(is_token(batch[self.target]).sum())

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Column "prediction" [b, max_tokens]: tokens up to the end, the mark of it with them, and -1 behind it.

        Raises: ModelError for a net that cannot generate.
        """
        generate: Any = getattr(model, "generate", None)
        if generate is None:
            name = type(model).__name__
            raise ModelError(f"{name} has no `generate`, which predictions need: use a model of transformers")
        source = batch[self.inputs]
        given = {"pixel_values": source}
        if not source.is_floating_point():
            tokens = trimmed(source)
            text = is_token(tokens)
            given = {"input_ids": tokens.masked_fill(~text, pad_token(model)), "attention_mask": text.long()}
        written = generate(
            **given,
            decoder_start_token_id=self._start(model),
            max_new_tokens=self.max_tokens,
            do_sample=False,
            num_beams=1,
        )[:, 1:]
        end = getattr(model.generation_config, "eos_token_id", None)
        if end is not None:
            ends = torch.isin(written, torch.tensor(end, device=written.device)).long()
            written = written.masked_fill(ends.cumsum(1) > ends, PAD)
        return {"prediction": widened(written, self.max_tokens, PAD)}

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those without NaN in their image; bool [n].

        Raises: DataError for a missing column, or one that holds neither tokens that the net knows nor, as the source,
            images; or bad rows if `bad_rows` is "error".
        """
        check_names(columns, (self.inputs, self.target), where)
        known = getattr(self.net, "vocab_size", None)
        check_tokens(columns, self.target, where, known)
        images = columns[self.inputs].is_floating_point() and columns[self.inputs].ndim == 4
        if not images:
            check_tokens(columns, self.inputs, where, known)
        return finite_rows(columns, (self.inputs,), where, self.bad_rows)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How long the targets are."""
        return f"{self.count(columns):,} target tokens"

    def _start(self, model: nn.Module) -> int:
        if self.start is not None:
            return self.start
        own = getattr(getattr(model, "config", None), "decoder_start_token_id", None)
        if own is None:
            raise ModelError(
                f"{type(model).__name__} does not say which token stands before a target: set "
                f"SequenceToSequence.start, or decoder_start_token_id in Transformers.config"
            )
        return int(own)
