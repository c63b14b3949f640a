"""Area under the ROC curve, exactly: counts of positives and negatives by score."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from torch import Tensor

from raycollab.errors import DataError
from raycollab.metrics.checks import as_counts, as_labels, as_reals, assign, check_lengths, ratio, read_only
from raycollab.metrics.statistic import Statistic


@dataclass(frozen=True, eq=False)
class RankCounts(Statistic):
    """Exact area under the ROC curve of a binary classifier; computes {"auc": ...}, nan if a class is missing.

    Carries each distinct float32 score with its counts of positives and negatives: 20 bytes per distinct score, and a
    score that occurs once is one example's score, readable by whoever merges. Ties count half.

    Args:
        scores: Distinct scores, ascending; larger means more likely positive.
        positives: Examples of class 1 with each score.
        negatives: Examples of class 0 with each score.
    Shapes: scores [u] float32, positives [u] int64, negatives [u] int64.
    Raises: DataError if the lengths differ, or if the scores are not finite, distinct and ascending.
    Source: Fawcett, Pattern Recognition Letters 27 (2006), section 7: the probability that a random positive is ranked
        above a random negative.
    """

    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # becomes inf, which is refused below
            scores = read_only(np.array(self.scores, dtype=np.float32) + np.float32(0))  # -0.0 and 0.0 are one score
        positives = as_counts("RankCounts.positives", self.positives)
        negatives = as_counts("RankCounts.negatives", self.negatives)
        check_lengths(scores=scores, positives=positives, negatives=negatives)
        if not (np.isfinite(scores).all() and (scores[1:] > scores[:-1]).all()):
            raise DataError("RankCounts.scores: must be finite, distinct and ascending; RankCounts.of sorts raw scores")
        assign(self, scores=scores, positives=positives, negatives=negatives)

    @classmethod
    def of(cls, scores: Tensor, targets: Tensor) -> Self:
        """Count targets [n] in {0, 1} by their scores [n], which are rounded to float32."""
        check_lengths(scores=scores, targets=targets)
        positives = as_labels("targets", targets, 2)
        largest = float(np.finfo(np.float32).max)
        return cls._merged(as_reals("scores", scores, -largest, largest).astype(np.float32), positives, 1 - positives)

    @classmethod
    def _merged(cls, scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> Self:
        distinct, place = np.unique(scores, return_inverse=True)  # [u], [n]
        merged = np.zeros((2, len(distinct)), dtype=np.int64)
        np.add.at(merged[0], place, positives)
        np.add.at(merged[1], place, negatives)
        return cls(distinct, merged[0], merged[1])

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other)
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return self._merged(*(np.concatenate(pair) for pair in pairs))

    def compute(self) -> dict[str, float]:
        """{"auc": share of (positive, negative) pairs in the right order, ties counted half}."""
        below = np.cumsum(self.negatives) - self.negatives  # [u] negatives with a smaller score
        twice_won = int((self.positives * (2 * below + self.negatives)).sum())
        return {"auc": ratio(twice_won, 2 * int(self.positives.sum()) * int(self.negatives.sum()))}
