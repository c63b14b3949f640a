"""Classification of examples into one of several classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.data import WEIGHT
from raycollab.errors import DataError, ModelError, RowError
from raycollab.labels import NO_LABELS, Labels, labels_of
from raycollab.metrics import Average, CalibrationBins, Confusion, RankCounts, Statistics
from raycollab.models.base import Model
from raycollab.settings import require, require_one_of
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.augmentation import Augmentation
from raycollab.tasks.inputs import check_names, finite_rows, names_of
from raycollab.tasks.one_net import OneNet
from raycollab.types import Batch


@dataclass(frozen=True)
class Classification(OneNet):
    """Cross-entropy over class logits; accuracy, precision, recall, F1, calibration error, and AUC for two classes.

    Args:
        net: Makes a module: inputs [b, ...] -> logits [b, num_classes].
        num_classes: Labels are 0 .. num_classes - 1.
        inputs: Column that the module is given, or several, which it is given beside each other as floats [b, k].
        label: Column of labels [n], whole numbers of an integer type.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        bad_rows: "error" refuses a shard with a NaN or infinity among its inputs or a label outside the range, "drop"
            leaves such rows out and counts them.
    """

    net: Model
    num_classes: int
    inputs: str | tuple[str, ...] = "features"
    label: str = "label"
    label_smoothing: float = 0.0
    bad_rows: str = "error"

    primary = ("accuracy", True)

    def __post_init__(self) -> None:
        is_module = isinstance(self.net, nn.Module) or (isinstance(self.net, type) and issubclass(self.net, nn.Module))
        accepted = (
            "is a torch module; every agent builds its own, so give the recipe of it: "
            "rc.models.Module(CLASS OR FUNCTION, {'argument': value}), or 'package.module:Name' in place of the class"
            if is_module
            else "must be a recipe such as rc.models.MLP(64, 10) or rc.models.Module('package.module:Name')"
        )
        require(isinstance(self.net, Model), f"{type(self).__name__}.net", self.net, accepted)
        if not isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", tuple(self.inputs))
        require(bool(self.inputs), f"{type(self).__name__}.inputs", self.inputs, "must name a column")
        require(self.num_classes >= 2, "num_classes", self.num_classes, "must be >= 2")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "must be in [0, 1)")
        require_one_of("bad_rows", self.bad_rows, ("error", "drop"))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy, of examples times their weights if they have any []."""
        outputs = self.outputs(model, self.shown(model, batch))
        if WEIGHT in batch:
            return self.losses(outputs, batch).mean()
        return functional.cross_entropy(outputs, batch[self.label].long(), label_smoothing=self.label_smoothing)

    def outputs(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """What the model makes of inputs [b, num_classes].

        Raises: ModelError if that has another shape.
        """
        output = self.called(model, inputs)
        logits: Tensor = getattr(output, "logits", output)  # as models of transformers return them
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise ModelError(
                f"the model's output has shape {list(logits.shape)}; "
                f"num_classes={self.num_classes} needs [{len(inputs)}, {self.num_classes}]"
            )
        return logits

    def called(self, model: nn.Module, inputs: Tensor) -> Any:
        """Give the model its inputs."""
        return model(inputs)

    def shown(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the module is given where it learns: `inputs_of`, unless a task changes it at random."""
        del model
        return self.inputs_of(batch)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each example, times its weight if it has one [b]."""
        labels, smoothing = batch[self.label].long(), self.label_smoothing
        losses = functional.cross_entropy(outputs, labels, label_smoothing=smoothing, reduction="none")
        return losses * batch[WEIGHT] if WEIGHT in batch else losses

    def losses_and_gradients(self, batch: Batch, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, whose gradient is the softmax less the target."""
        labels, smoothing = batch[self.label].long().unsqueeze(1), self.label_smoothing
        logs = outputs.log_softmax(1)
        losses = logs.gather(1, labels).squeeze(1).mul(smoothing - 1.0)
        gradients = logs.exp().scatter_add_(1, labels, torch.full_like(labels, smoothing - 1.0, dtype=logs.dtype))
        if smoothing:
            losses.sub_(logs.mean(1), alpha=smoothing)
            gradients.sub_(smoothing / self.num_classes)
        if WEIGHT in batch:
            return losses.mul_(batch[WEIGHT]), gradients.mul_(batch[WEIGHT].unsqueeze(1))
        return losses, gradients

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's output [b, num_classes]."""
        return self.outputs(model, self.inputs_of(batch)).float()

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Loss, confusion matrix, calibration and, for two classes, ranks of the scores."""
        return self.scored(self.logits(model, batch), batch)

    def scored(self, logits: Tensor, batch: Batch) -> Statistics:
        """The statistics of logits [b, num_classes]. Labels without an output are wrong, and not in the loss."""
        labels = batch[self.label].long()
        total, counted = functional.cross_entropy(logits, labels, reduction="sum").item(), len(labels)
        if total == math.inf:  # labels that the net has no output for: see raycollab.models.Padded
            there = logits.gather(1, labels.unsqueeze(1)).squeeze(1) != -math.inf
            counted = int(there.sum())
            total = functional.cross_entropy(logits[there], labels[there], reduction="sum").item()
        prediction = logits.argmax(1)
        confidence = logits.softmax(1).amax(1).nan_to_num().clamp(0, 1)  # NaN of a net that diverged shows in the loss
        parts = {
            "loss": Average("loss", total, counted),
            "confusion": Confusion.of(labels.cpu(), prediction.cpu(), self.num_classes),
            "calibration": CalibrationBins.of(confidence.cpu(), (prediction == labels).cpu()),
        }
        if self.num_classes == 2:
            parts["auc"] = RankCounts.of((logits[:, 1] - logits[:, 0]).nan_to_num().cpu(), labels.cpu())
        return Statistics.of(parts)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Columns "prediction" [b] and "probability" [b], that of the predicted class."""
        probability, prediction = self.logits(model, batch).softmax(1).max(1)
        return {"prediction": prediction, "probability": probability}

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        loss = "cross_entropy" if not self.label_smoothing else f"cross_entropy(label_smoothing={self.label_smoothing})"
        metrics = ("loss", "accuracy", "precision", "recall", "f1", "ece") + (("auc",) if self.num_classes == 2 else ())
        return Fingerprint(loss, metrics, tuple((entry.name, entry.shape) for entry in spec.params))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those with finite inputs and a label in the range; bool [n].

        Raises: DataError for a missing column, labels that are no whole numbers [n], or bad rows if `bad_rows` is
            "error".
        """
        check_names(columns, names_of(self.inputs), where)
        known = check_labels(columns, self.label, self.num_classes, where, self.bad_rows)
        return known & finite_rows(columns, names_of(self.inputs), where, self.bad_rows)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many of the labels the data has."""
        return f"{len(columns[self.label].unique())} of {self.num_classes} labels"

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many examples have each label."""
        return labels_of(columns[self.label], self.num_classes) if self.label in columns else NO_LABELS


def check_labels(columns: Mapping[str, Tensor], label: str, num_classes: int, where: str, bad_rows: str) -> Tensor:
    """Rows whose label is one of 0 .. num_classes - 1: bool [n].

    Raises: DataError for a column of anything but one whole number a row, or naming the first of the other rows, if
        `bad_rows` is "error".
    """
    check_names(columns, (label,), where)
    labels = columns[label]
    if labels.ndim != 1 or labels.is_floating_point():
        raise DataError(
            f"{where}: column {label!r} holds {labels.dtype} of shape {list(labels.shape)}; "
            f"labels are one whole number per row: store them as integers"
        )
    outside = (labels < 0) | (labels >= num_classes)
    if bad_rows == "error" and bool(outside.any()):
        row = int(outside.nonzero()[0])
        what = f" has label {int(labels[row])}, outside 0..{num_classes - 1} ({int(outside.sum())} such rows)"
        remedy = "correct the labels or set num_classes, or leave such rows out with bad_rows='drop'"
        raise RowError.of(where, row, f"{what}; {remedy}")
    return ~outside


@dataclass(frozen=True)
class ImageClassification(Classification):
    """Classification of the column "image" [n, channels, height, width].

    Args:
        augment: What becomes of images in training, one after another, drawn anew in every step; never in evaluation or
            prediction. Agents then learn one at a time, each with its own draws.
    """

    inputs: str = "image"
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "augment", tuple(self.augment))
        for each in self.augment:
            accepted = "must hold augmentations such as rc.tasks.RandomCrop()"
            require(isinstance(each, Augmentation), "ImageClassification.augment", each, accepted)

    @property
    def tells_losses(self) -> bool:
        """Not with augmentations, whose draws are an agent's own."""
        return not self.augment and super().tells_losses

    def shown(self, model: nn.Module, batch: Batch) -> Tensor:
        """The images, augmented while the module trains."""
        images = self.inputs_of(batch)
        for augmentation in self.augment if model.training else ():
            images = augmentation.apply(images)
        return images
