"""Confusion matrix, and what follows from it: accuracy, precision, recall, F1; per class and averaged over classes."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from torch import Tensor

from raycollab.errors import ConfigError, DataError
from raycollab.metrics.checks import as_counts, as_labels, assign, check_lengths, ratio
from raycollab.metrics.statistic import Statistic


class ClassScores(NamedTuple):
    """A row of the classification report: a class, or an average over classes."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Confusion(Statistic):
    """Confusion matrix, and what follows from it: accuracy, precision, recall, F1.

    A ratio without denominator (a class that was never predicted, or never present) is 0, and macro averages run over
    all c classes: scikit-learn's classification_report(labels=range(c), zero_division=0).

    Args:
        matrix: Counts; rows are the truth, columns the predictions.
    Shapes: matrix [c, c], int64; takes 8 * c * c bytes.
    Raises: DataError if the matrix is not square or holds anything but counts.
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = as_counts("Confusion.matrix", self.matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise DataError(f"Confusion.matrix of shape {matrix.shape}: must be [c, c], c >= 1")
        assign(self, matrix=matrix)

    @classmethod
    def of(cls, targets: Tensor, predictions: Tensor, num_classes: int) -> Self:
        """Count pairs of labels, both [n] in 0..num_classes-1."""
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: must be >= 1")
        check_lengths(targets=targets, predictions=predictions)
        truth = as_labels("targets", targets, num_classes)
        predicted = as_labels("predictions", predictions, num_classes)
        flat = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)  # [c * c]
        return cls(flat.reshape(num_classes, num_classes))

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "num_classes")
        return type(self)(self.matrix + other.matrix)

    @property
    def num_classes(self) -> int:
        """Number of classes, c."""
        return len(self.matrix)

    def compute(self) -> dict[str, float]:
        """Accuracy, the macro averages, and F1 weighted by support."""
        macro, weighted = self.macro(), self.weighted()
        return {
            "accuracy": ratio(int(self.matrix.trace()), int(self.matrix.sum())),
            "precision_macro": macro.precision,
            "recall_macro": macro.recall,
            "f1_macro": macro.f1,
            "f1_weighted": weighted.f1,
        }

    def per_class(self) -> list[ClassScores]:
        """One row per class, in the order of the labels."""
        scores, support = self._scores()
        return [
            ClassScores(p, r, f1, count) for (p, r, f1), count in zip(scores.tolist(), support.tolist(), strict=True)
        ]

    def macro(self) -> ClassScores:
        """Average in which every class counts the same; nan without examples."""
        return self._average(np.ones(self.num_classes))

    def weighted(self) -> ClassScores:
        """Average in which every class counts by its support; nan without examples."""
        return self._average(self.matrix.sum(axis=1))

    def _scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision, recall and F1 by class [c, 3], and support [c]."""
        hits, support, predicted = self.matrix.diagonal(), self.matrix.sum(axis=1), self.matrix.sum(axis=0)  # each [c]
        counts = np.stack([hits, hits, 2 * hits], axis=1)  # [c, 3]
        possible = np.stack([predicted, support, predicted + support], axis=1)  # [c, 3]
        return np.divide(counts, possible, out=np.zeros(counts.shape), where=possible > 0), support

    def _average(self, weights: np.ndarray) -> ClassScores:
        scores, support = self._scores()
        total = int(support.sum())
        if total == 0:
            return ClassScores(math.nan, math.nan, math.nan, 0)
        precision, recall, f1 = np.average(scores, axis=0, weights=weights).tolist()
        return ClassScores(precision, recall, f1, total)
