"""Classification of each word of a text: names, parts of speech."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from raycollab.data.token_rows import UNLABELLED
from raycollab.errors import DataError, ModelError, RowError
from raycollab.labels import NO_LABELS, TOKENS, Labels, labels_of
from raycollab.metrics import Average, Confusion, Statistics
from raycollab.models.base import Model
from raycollab.models.tokens import is_token, logits_of, trimmed
from raycollab.settings import require, require_one_of
from raycollab.tasks.inputs import check_names
from raycollab.tasks.token_prediction import TokenPrediction, check_logits
from raycollab.tasks.tokens import NET, check_tokens, labelled, widened
from raycollab.types import Batch


@dataclass(frozen=True)
class TokenClassification(TokenPrediction):
    """Cross-entropy of each labelled token; accuracy, precision, recall and F1 over tokens, not over spans of them.

    Sources with `per_word` read such data. What is counted, as for Mean("tokens"), are labelled tokens.

    Args:
        net: Makes a module: tokens int64 [b, t] and attention_mask=int64 [b, t], 0 at padding -> logits
            [b, t, num_classes], or what transformers' models return, which holds them as `.logits`.
        num_classes: Labels are 0 .. num_classes - 1.
        inputs: Column of the tokens [n, length]; short texts end in -1.
        label: Column of a label for each token [n, length].
        ignore: The label of tokens that nothing is to be said of, such as all but the first of a word.
        bad_rows: "error" refuses a shard with another label, "drop" leaves rows that hold one out and counts them.
    """

    net: Model
    num_classes: int
    inputs: str = "text"
    label: str = "label"
    ignore: int = UNLABELLED
    bad_rows: str = "error"

    primary = ("f1_macro", True)
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "precision", "recall", "f1")

    def __post_init__(self) -> None:
        net = NET.format(head="token-classification")
        require(isinstance(self.net, Model), "TokenClassification.net", self.net, net)
        require(self.num_classes >= 2, "TokenClassification.num_classes", self.num_classes, "must be >= 2")
        own = getattr(self.net, "num_labels", None)
        accepted = f"must be the net's num_labels={own}: set both to the number of classes"
        require(own in (None, self.num_classes), "TokenClassification.num_classes", self.num_classes, accepted)
        outside = not 0 <= self.ignore < self.num_classes
        require(outside, "TokenClassification.ignore", self.ignore, f"must be no label of 0..{self.num_classes - 1}")
        require_one_of("TokenClassification.bad_rows", self.bad_rows, ("error", "drop"))

    @property
    def loss_name(self) -> str:
        """Cross-entropy over the classes."""
        return f"token_cross_entropy(num_classes={self.num_classes})"

    def predicted(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [b, t, num_classes] and labels [b, t]."""
        logits, labels = self._logits(model, batch), batch[self.label].long()
        labels = labels[:, : logits.shape[1]]
        check_logits(logits, labels, self.num_classes, f"num_classes={self.num_classes}")
        return logits, labelled(labels, labels != self.ignore)

    def count(self, batch: Batch) -> int:
        """Number of labelled tokens."""
        return int((batch[self.label] != self.ignore).sum())

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Loss and confusion matrix of the labelled tokens."""
        logits, labels = self.predicted(model, batch)
        said = labels != UNLABELLED
        told, labels = logits[said].float(), labels[said]  # [k, num_classes], [k]
        total = functional.cross_entropy(told, labels, reduction="sum").item()
        confusion = Confusion.of(labels.cpu(), told.argmax(1).cpu(), self.num_classes)
        return Statistics.of({"loss": Average("loss", total, len(labels)), "confusion": confusion})

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "prediction" and "probability" [b, length] of each token; `ignore` and 0 at padding."""
        tokens = batch[self.inputs]
        probability, prediction = self._logits(model, batch).float().softmax(2).max(2)
        text, width = is_token(trimmed(tokens)), tokens.shape[1]
        prediction = widened(prediction.masked_fill(~text, self.ignore), width, self.ignore)
        return {"prediction": prediction, "probability": widened(probability * text, width, 0)}

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those with a label, and none that is neither in the range nor `ignore`.

        Raises: DataError for a missing column, tokens that the net does not know, labels that are not one whole number
            a token, or other labels if `bad_rows` is "error".
        Shapes: bool [n].
        """
        check_names(columns, (self.inputs, self.label), where)
        check_tokens(columns, self.inputs, where, getattr(self.net, "vocab_size", None))
        tokens, labels = columns[self.inputs], columns[self.label]
        if labels.shape != tokens.shape or labels.is_floating_point():
            raise DataError(
                f"{where}: column {self.label!r} holds {str(labels.dtype).removeprefix('torch.')} of shape "
                f"{list(labels.shape)}, and the tokens have {list(tokens.shape)}: each needs one whole number, as a "
                f"source with per_word={self.inputs!r} reads them"
            )
        said = labels != self.ignore
        outside = said & ((labels < 0) | (labels >= self.num_classes))
        if self.bad_rows == "error" and bool(outside.any()):
            row = int(outside.any(1).nonzero()[0])
            what = (
                f" has label {int(labels[row][outside[row]][0])}, outside 0..{self.num_classes - 1} and not "
                f"ignore={self.ignore} ({int(outside.any(1).sum())} such rows); correct the labels or set num_classes, "
                f"or leave such rows out with bad_rows='drop'"
            )
            raise RowError.of(where, row, what)
        return said.any(1) & ~outside.any(1)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many of the labels the data has."""
        labels = columns[self.label]
        return f"{len(labels[labels != self.ignore].unique())} of {self.num_classes} labels"

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many tokens have each label; those that are to be ignored have none."""
        if self.label not in columns:
            return NO_LABELS
        labels = columns[self.label]
        return labels_of(labels[labels != self.ignore], self.num_classes, TOKENS)

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        tokens = trimmed(batch[self.inputs])
        logits = logits_of(model, tokens)
        if logits.shape != (*tokens.shape, self.num_classes):
            raise ModelError(
                f"the model's output has shape {list(logits.shape)}; num_classes={self.num_classes} needs "
                f"{[*tokens.shape, self.num_classes]}"
            )
        return logits
