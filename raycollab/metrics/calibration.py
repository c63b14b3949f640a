"""Calibration error: whether predictions are right as often as their confidence says."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from raycollab.errors import ConfigError, DataError
from raycollab.metrics.checks import as_counts, as_labels, as_reals, assign, check_lengths, ratio
from raycollab.metrics.statistic import Statistic

_FIXED_POINT = 2**30  # CalibrationBins counts confidence in units of 2^-30, so that its sums are integers


@dataclass(frozen=True, eq=False)
class CalibrationBins(Statistic):
    """Expected calibration error over equal bins of confidence; computes {"ece": ...}.

    Bin m of M holds the confidences in ((m-1)/M, m/M], and 0 goes to the first. Confidences are rounded to multiples of
    2^-30 before, so that sums are integers; that moves the error by less than 1e-9, unless one stood on a bin's edge.

    Args:
        counts: Examples in each bin.
        correct: Examples in each bin whose prediction was right.
        confidence: Sum of the confidences in each bin, in units of 2^-30.
    Shapes: counts, correct, confidence [m], int64.
    Raises: DataError if the lengths differ, or if a bin holds more than its count allows.
    Source: Guo et al., ICML 2017, arXiv 1706.04599, equation 3.
    """

    counts: np.ndarray
    correct: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        names = ("counts", "correct", "confidence")
        parts = {name: as_counts(f"CalibrationBins.{name}", getattr(self, name)) for name in names}
        check_lengths(**parts)
        if len(parts["counts"]) == 0:
            raise DataError("CalibrationBins of 0 bins: must hold at least 1")
        if (parts["correct"] > parts["counts"]).any() or (parts["confidence"] > parts["counts"] * _FIXED_POINT).any():
            raise DataError("CalibrationBins: correct and confidence must be at most counts in every bin")
        assign(self, **parts)

    @classmethod
    def of(cls, confidence: Tensor, correct: Tensor, num_bins: int = 15) -> Self:
        """Count predictions: their confidences [n] in [0, 1], and whether each was right, [n] bool or 0/1."""
        if num_bins < 1:
            raise ConfigError(f"num_bins={num_bins}: must be >= 1; 15 is usual")
        check_lengths(confidence=confidence, correct=correct)
        right = as_labels("correct", correct, 2)
        units = np.rint(as_reals("confidence", confidence, 0.0, 1.0) * _FIXED_POINT).astype(np.int64)  # [n]
        place = np.maximum((units * num_bins - 1) // _FIXED_POINT, 0)  # [n] ceil(confidence * num_bins) - 1
        merged = np.zeros((3, num_bins), dtype=np.int64)
        for row, values in zip(merged, (np.ones_like(units), right, units), strict=True):
            np.add.at(row, place, values)
        return cls(*merged)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "num_bins")
        return type(self)(self.counts + other.counts, self.correct + other.correct, self.confidence + other.confidence)

    @property
    def num_bins(self) -> int:
        """Number of bins, m."""
        return len(self.counts)

    def compute(self) -> dict[str, float]:
        """{"ece": mean over examples of |accuracy - mean confidence| of their bin}."""
        gaps = np.abs(self.correct * _FIXED_POINT - self.confidence)  # [m] in units of 2^-30
        return {"ece": ratio(int(gaps.sum()), int(self.counts.sum()) * _FIXED_POINT)}
