"""Classification of examples that may have several labels at once, or none."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.data import LABEL, WEIGHT
from raycollab.errors import DataError, ModelError, RowError
from raycollab.labels import NO_LABELS, POSITIVES, Labels
from raycollab.metrics import Average, LabelCounts, MacroAUC, Statistics
from raycollab.models.base import Model
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.inputs import check_names, finite_rows, names_of
from raycollab.tasks.one_net import OneNet
from raycollab.types import Batch


@dataclass(frozen=True)
class MultiLabel(OneNet):
    """Binary cross-entropy of each label; F1 by label, micro and macro, AUC, and the share of rows with all right.

    Args:
        net: Makes a module: inputs [b, ...] -> logits [b, num_labels].
        num_labels: Labels of an example, each 0 or 1.
        inputs: Column that the module is given, or several, which it is given beside each other as floats [b, k].
        label: Column of labels [n, num_labels], 0 or 1: a list in each row of a file, or the columns of `stack`.
        threshold: Probability from which a label is predicted, in (0, 1).
        bad_rows: "error" refuses a shard with a NaN or infinity among its inputs or a label other than 0 and 1, "drop"
            leaves such rows out and counts them.
    """

    net: Model
    num_labels: int
    inputs: str | tuple[str, ...] = "features"
    label: str = LABEL
    threshold: float = 0.5
    bad_rows: str = "error"

    primary = ("f1_macro", True)

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", tuple(self.inputs))
        accepted = "must be a recipe such as rc.models.MLP(64, 5) or rc.models.Module('package.module:Name')"
        require(isinstance(self.net, Model), "MultiLabel.net", self.net, accepted)
        require(self.num_labels >= 1, "MultiLabel.num_labels", self.num_labels, "must be >= 1")
        own = getattr(self.net, "num_outputs", self.num_labels)
        require(
            own == self.num_labels, "MultiLabel.num_labels", self.num_labels, f"must be the net's num_outputs={own}"
        )
        require(bool(self.inputs), "MultiLabel.inputs", self.inputs, "must name a column")
        require(0 < self.threshold < 1, "MultiLabel.threshold", self.threshold, "must be in (0, 1)")
        require_one_of("MultiLabel.bad_rows", self.bad_rows, ("error", "drop"))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean over examples and labels, of examples times their weights if they have any []."""
        return self.losses(model(self.inputs_of(batch)), batch).mean()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean over the labels of each example, times its weight if it has one [b]."""
        targets = batch[self.label].to(outputs.dtype)
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
        return losses * batch[WEIGHT] if WEIGHT in batch else losses

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's output [b, num_labels]."""
        return model(self.inputs_of(batch)).float()

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Loss, hits by label and ranks of the scores."""
        targets, logits = batch[self.label], self.logits(model, batch)
        if logits.shape != targets.shape:
            raise ModelError(
                f"the model's output has shape {list(logits.shape)}; num_labels={self.num_labels} needs "
                f"[{len(targets)}, {self.num_labels}]"
            )
        total = self.losses(logits, {self.label: targets}).sum().item()
        labels = torch.arange(self.num_labels).expand(len(targets), -1)  # [b, c]
        scores, truth = logits.nan_to_num().cpu().flatten(), targets.cpu()
        parts = {
            "loss": Average("loss", total, len(targets)),
            "labels": LabelCounts.of(truth, self._predicted(logits).cpu()),
            "auc": MacroAUC.of(labels.flatten(), scores, truth.flatten(), truth.long().sum(0)),
        }
        return Statistics.of(parts)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "prediction" [b, num_labels], 0 or 1, and "probability" [b, num_labels], that of a 1."""
        logits = self.logits(model, batch)
        return {"prediction": self._predicted(logits), "probability": logits.sigmoid()}

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        metrics = ("loss", "f1_micro", "f1_macro", "exact_match", "hamming", "auc")
        exchanged = tuple((entry.name, entry.shape) for entry in spec.params)
        return Fingerprint(f"binary_cross_entropy(num_labels={self.num_labels})", metrics, exchanged)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those with finite inputs and labels of 0 and 1; bool [n].

        Raises: DataError for a missing column, labels of another form, or bad rows if `bad_rows` is "error".
        """
        check_names(columns, (*names_of(self.inputs), self.label), where)
        labels = columns[self.label]
        if labels.ndim != 2 or labels.shape[1] != self.num_labels:
            raise DataError(
                f"{where}: column {self.label!r} holds shape {list(labels.shape)}; num_labels={self.num_labels} needs "
                f"[{len(labels)}, {self.num_labels}]: a list of so many 0 and 1 in each row"
            )
        wrong = (labels != 0) & (labels != 1)
        if self.bad_rows == "error" and bool(wrong.any()):
            row, place = wrong.nonzero()[0].tolist()
            what = (
                f" has {labels[row, place].item()} for label {place} ({int(wrong.sum())} such entries); "
                f"every label is 0 or 1: correct them, or leave such rows out with bad_rows='drop'"
            )
            raise RowError.of(where, row, what)
        return ~wrong.any(1) & finite_rows(columns, names_of(self.inputs), where, self.bad_rows)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many of the labels the data has examples of."""
        return f"{int((columns[self.label] > 0).any(0).sum())} of {self.num_labels} labels"

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many examples have each label; what is neither 0 nor 1 is unknown."""
        if self.label not in columns:
            return NO_LABELS
        labels, strange = columns[self.label], "neither 0 nor 1"
        if labels.ndim != 2 or labels.shape[1] != self.num_labels:
            strange = f"no {self.num_labels} numbers in a row"
            return Labels((0,) * self.num_labels, len(labels), POSITIVES, strange=strange)
        there = labels == 1
        unknown = int((~there & (labels != 0)).sum())
        return Labels(tuple(there.sum(0).tolist()), unknown, POSITIVES, strange=strange)

    def _predicted(self, logits: Tensor) -> Tensor:
        return (logits.sigmoid() >= self.threshold).long()
