"""Scores of several labels, counted exactly: the mean AUC of labels, the mean average precision of detections."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from raycollab.errors import ConfigError, DataError
from raycollab.metrics.checks import as_counts, as_labels, as_reals, assign, check_lengths, read_only
from raycollab.metrics.ranking import RankCounts
from raycollab.metrics.statistic import Statistic

_RECALLS = np.linspace(0.0, 1.0, 101)  # where precision is read off


@dataclass(frozen=True, eq=False)
class LabelScores(Statistic):
    """Distinct scores of each label with their counts of positives and negatives: RankCounts for many labels.

    Carries 28 bytes for each distinct score of a label; one that occurs once is one example's, readable by whoever
    merges.

    Args:
        labels: Which label a score is of, ascending.
        scores: Distinct within a label, ascending; larger means more likely positive.
        positives: Examples that have the label, by score.
        negatives: Examples that do not.
        sizes: Positives of each label that should have been found, whether or not they have a score.
    Shapes: labels, positives, negatives [u] int64, scores [u] float32, sizes [c] int64.
    Raises: DataError if the lengths differ, scores are not finite, or the order is another.
    """

    labels: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    sizes: np.ndarray

    def __post_init__(self) -> None:
        name = type(self).__name__
        counts = ("labels", "positives", "negatives", "sizes")
        held = {each: as_counts(f"{name}.{each}", getattr(self, each)) for each in counts}
        scores = read_only(np.array(self.scores, dtype=np.float32) + np.float32(0))  # -0.0 and 0.0 are one score
        check_lengths(labels=held["labels"], scores=scores, positives=held["positives"], negatives=held["negatives"])
        labels = held["labels"]
        ordered = (labels[1:] > labels[:-1]) | ((labels[1:] == labels[:-1]) & (scores[1:] > scores[:-1]))
        if not (np.isfinite(scores).all() and ordered.all() and (labels < len(held["sizes"])).all()):
            raise DataError(f"{name}: scores must be finite, distinct and ascending, label by label; use {name}.of")
        assign(self, scores=scores, **held)

    @classmethod
    def of(cls, labels: Tensor, scores: Tensor, targets: Tensor, sizes: Tensor) -> Self:
        """Count targets [n] in {0, 1} by their labels [n] and scores [n], which are rounded to float32.

        Args:
            labels: In 0..c-1.
            scores: Finite.
            targets: Whether each is a positive.
            sizes: Positives of each label [c].
        """
        check_lengths(labels=labels, scores=scores, targets=targets)
        places, positives = as_labels("labels", labels, len(sizes)), as_labels("targets", targets, 2)
        largest = float(np.finfo(np.float32).max)
        reals = as_reals("scores", scores, -largest, largest).astype(np.float32)
        return cls._merged(places, reals, positives, 1 - positives, sizes.cpu().numpy())

    @classmethod
    def _merged(
        cls, labels: np.ndarray, scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray, sizes: np.ndarray
    ) -> Self:
        pairs = np.empty(len(labels), [("label", np.int64), ("score", np.float32)])
        pairs["label"], pairs["score"] = labels, scores + np.float32(0)
        distinct, place = np.unique(pairs, return_inverse=True)  # [u], [n]
        counts = np.zeros((2, len(distinct)), dtype=np.int64)
        np.add.at(counts[0], place, positives)
        np.add.at(counts[1], place, negatives)
        return cls(distinct["label"], distinct["score"], counts[0], counts[1], sizes)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "num_labels")
        names = ("labels", "scores", "positives", "negatives")
        parts = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        return self._merged(**parts, sizes=self.sizes + other.sizes)

    @property
    def num_labels(self) -> int:
        """Number of labels, c."""
        return len(self.sizes)

    def of_label(self, label: int) -> RankCounts:
        """The counts of one label by themselves."""
        if not 0 <= label < self.num_labels:
            raise ConfigError(f"label={label}: must be in 0..{self.num_labels - 1}")
        mine = slice(*np.searchsorted(self.labels, [label, label + 1]))
        return RankCounts(self.scores[mine], self.positives[mine], self.negatives[mine])

    @abstractmethod
    def by_label(self) -> list[float]:
        """The metric of each label; nan where it is not defined."""


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True, eq=False)
class MacroAUC(LabelScores):
    """Exact area under the ROC curve of each label; computes {"auc": ...}, the mean over labels that have both sides.

    It is scikit-learn's roc_auc_score(average="macro") where every label has positives and negatives.
    """

    def by_label(self) -> list[float]:
        """Area under the ROC curve of each label."""
        return [self.of_label(label).compute()["auc"] for label in range(self.num_labels)]

    def compute(self) -> dict[str, float]:
        """{"auc": the mean}."""
        return {"auc": _mean(self.by_label())}


@dataclass(frozen=True, eq=False)
class AveragePrecision(LabelScores):
    """Average precision of detections, which were matched image by image; computes {"map50": mean over classes}.

    Precision at 101 levels of recall, each the largest at that recall or a higher one, as COCO defines it. Detections
    of one score are taken together, so that the order in which parts are merged changes nothing. `positives` are
    detections that found an object, `negatives` those that did not, `sizes` the objects that there are.

    Source: Lin et al., ECCV 2014, arXiv 1405.0312; pycocotools' COCOeval.accumulate, which counts equal scores one by
        one in the order of the images.
    """

    def by_label(self) -> list[float]:
        """Average precision of each class; nan for one without objects."""
        return [self._of_class(label) for label in range(self.num_labels)]

    def compute(self) -> dict[str, float]:
        """{"map50": the mean over classes that have objects}."""
        return {"map50": _mean(self.by_label())}

    def _of_class(self, label: int) -> float:
        size = int(self.sizes[label])
        if size == 0:
            return float("nan")
        counts = self.of_label(label)
        hits, misses = (np.cumsum(each[::-1]) for each in (counts.positives, counts.negatives))  # from the best on
        recall, precision = hits / size, hits / (hits + misses)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, _RECALLS, side="left")
        return float(np.append(best, 0.0)[np.minimum(places, len(best))].mean())
