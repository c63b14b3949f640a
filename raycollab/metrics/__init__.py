"""Statistics that merge exactly: collected per batch, added over batches and agents, finalised once.

A mean of per-agent means is not the mean over all examples, and no average of per-agent F1 scores or AUCs is the F1
score or AUC of the pooled data. So what travels is a Statistic: `a + b` is what one pass over both parts would have
collected, in any order and grouping, and only the last holder calls `compute()`. Counts are integers, where this holds
bit for bit; Average and Perplexity add float64 numbers, where it holds up to rounding. All sum over examples, except
RankCounts and LabelScores: they keep each distinct score, and say so.
"""

from raycollab.metrics.bundle import Statistics
from raycollab.metrics.calibration import CalibrationBins
from raycollab.metrics.confusion import ClassScores, Confusion
from raycollab.metrics.multi_label import LabelCounts
from raycollab.metrics.ranking import RankCounts
from raycollab.metrics.residuals import Residuals
from raycollab.metrics.scores import AveragePrecision, LabelScores, MacroAUC
from raycollab.metrics.statistic import Average, Perplexity, Statistic, statistic_from_plain

__all__ = [
    "Average",
    "AveragePrecision",
    "CalibrationBins",
    "ClassScores",
    "Confusion",
    "LabelCounts",
    "LabelScores",
    "MacroAUC",
    "Perplexity",
    "RankCounts",
    "Residuals",
    "Statistic",
    "Statistics",
    "statistic_from_plain",
]
