"""Several yes-or-no labels of each example: hits and misses by label, and what follows from them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from raycollab.errors import DataError
from raycollab.metrics.checks import as_counts, as_labels, assign, ratio
from raycollab.metrics.confusion import ClassScores
from raycollab.metrics.statistic import Statistic


@dataclass(frozen=True, eq=False)
class LabelCounts(Statistic):
    """Hits by label; computes f1_micro, f1_macro, exact_match and hamming, the share of single answers that are right.

    A ratio without denominator is 0: scikit-learn's classification_report(zero_division=0) on indicator matrices.

    Args:
        hits: Examples that have the label and were given it.
        predicted: Examples that were given it.
        support: Examples that have it.
        exact: Examples of which every label is right.
        examples: All of them.
    Shapes: hits, predicted, support [c] int64; exact, examples [] int64.
    Raises: DataError if the lengths differ, or the counts cannot be.
    """

    hits: np.ndarray
    predicted: np.ndarray
    support: np.ndarray
    exact: int
    examples: int

    def __post_init__(self) -> None:
        arrays = {
            name: as_counts(f"LabelCounts.{name}", getattr(self, name)) for name in ("hits", "predicted", "support")
        }
        numbers = {name: int(getattr(self, name)) for name in ("exact", "examples")}
        if len({each.shape for each in arrays.values()}) > 1 or arrays["hits"].ndim != 1 or arrays["hits"].size == 0:
            raise DataError(
                f"LabelCounts of shapes {[each.shape for each in arrays.values()]}: must all be [c], c >= 1"
            )
        most = np.minimum(arrays["predicted"], arrays["support"])
        if (arrays["hits"] > most).any() or not 0 <= numbers["exact"] <= numbers["examples"]:
            raise DataError("LabelCounts: hits must be at most predicted and support, exact at most examples")
        assign(self, **arrays, **numbers)

    @classmethod
    def of(cls, targets: Tensor, predictions: Tensor) -> Self:
        """Count labels, both [n, c] of 0 and 1."""
        if targets.shape != predictions.shape or targets.ndim != 2:
            raise DataError(f"targets {list(targets.shape)} and predictions {list(predictions.shape)}: must be [n, c]")
        truth, given = (
            as_labels(name, each.flatten(), 2).reshape(each.shape)
            for name, each in (("targets", targets), ("predictions", predictions))
        )
        exact = int((truth == given).all(1).sum())
        return cls((truth * given).sum(0), given.sum(0), truth.sum(0), exact, len(truth))

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "num_labels")
        names = ("hits", "predicted", "support", "exact", "examples")
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def num_labels(self) -> int:
        """Number of labels, c."""
        return len(self.hits)

    def compute(self) -> dict[str, float]:
        """F1 over all answers and as the mean over labels, and the shares of examples and of answers that are right."""
        wrong = int((self.predicted + self.support - 2 * self.hits).sum())
        return {
            "f1_micro": self.micro().f1,
            "f1_macro": self.macro().f1,
            "exact_match": ratio(self.exact, self.examples),
            "hamming": 1 - ratio(wrong, self.examples * self.num_labels),
        }

    def per_class(self) -> list[ClassScores]:
        """One row per label, in their order."""
        rows = zip(self.hits.tolist(), self.predicted.tolist(), self.support.tolist(), strict=True)
        return [_scores(*row) for row in rows]

    def micro(self) -> ClassScores:
        """All answers taken together."""
        return _scores(*(int(each.sum()) for each in (self.hits, self.predicted, self.support)))

    def macro(self) -> ClassScores:
        """Average in which every label counts the same."""
        return self._average(np.ones(self.num_labels))

    def weighted(self) -> ClassScores:
        """Average in which every label counts by its support."""
        return self._average(self.support if self.support.any() else np.ones(self.num_labels))

    def _average(self, weights: np.ndarray) -> ClassScores:
        rows = np.array([row[:3] for row in self.per_class()])
        precision, recall, f1 = np.average(rows, axis=0, weights=weights).tolist()
        return ClassScores(precision, recall, f1, int(self.support.sum()))


def _scores(hits: int, predicted: int, support: int) -> ClassScores:
    precision, recall, f1 = (
        hits / possible if possible else 0.0 for possible in (predicted, support, (predicted + support) / 2)
    )
    return ClassScores(precision, recall, f1, support)
