"""Statistics that merge exactly: collected per batch, added over batches and agents, finalised once.

A mean of per-agent means is not the mean over all examples, and no average of per-agent F1 scores or AUCs is the F1
score or AUC of the pooled data. So what travels is a Statistic: `a + b` is what one pass over both parts would have
collected, in any order and grouping, and only the last holder calls `compute()`. Counts are integers, where this holds
bit for bit; Average and Perplexity add float64 numbers, where it holds up to rounding. All sum over examples, except
RankCounts: it keeps each distinct score, and says so.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from torch import Tensor, float64

from raycollab.errors import ConfigError, DataError

_FIXED_POINT = 2**30  # CalibrationBins counts confidence in units of 2^-30, so that its sums are integers


@dataclass(frozen=True, eq=False)
class Statistic(ABC):
    """What was counted so far: a frozen dataclass of numbers and integer arrays, a commutative monoid under `+`."""

    @abstractmethod
    def __add__(self, other: Self) -> Self:
        """The statistic of both parts together; ConfigError if they do not belong together."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The finished metrics by name; nan where nothing was counted that would define them."""

    def to_plain(self) -> dict[str, Any]:
        """Ints, floats, strings and lists that JSON keeps exactly; `statistic_from_plain` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
        return {"kind": type(self).__name__, **plain}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistic) and self.to_plain() == other.to_plain()

    def _check_mergeable(self, other: object, *settings: str) -> None:
        """ConfigError unless both are of one kind and agree in these settings."""
        name = type(self).__name__
        if not isinstance(other, type(self)):
            raise ConfigError(f"{name} + {type(other).__name__}: only statistics of one kind add up")
        for setting in settings:
            mine, theirs = getattr(self, setting), getattr(other, setting)
            if mine != theirs:
                raise ConfigError(
                    f"{name} + {name}: {setting}={mine!r} and {theirs!r}: all agents must use one setting"
                )


def statistic_from_plain(plain: Mapping[str, Any]) -> Statistic:
    """Read back what `Statistic.to_plain` wrote; every imported subclass of Statistic is known by its class name.

    Raises: DataError if the kind is unknown, or if the fields are not those of the kind.
    """
    kinds = {kind.__name__: kind for kind in _subclasses(Statistic)}
    name = plain.get("kind") if isinstance(plain, Mapping) else None
    if not isinstance(name, str) or name not in kinds:
        raise DataError(f"statistic kind={name!r}: must be one of {sorted(kinds)}; import the module of any other kind")
    try:
        return kinds[name](**{key: value for key, value in plain.items() if key != "kind"})
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"statistic kind={name!r} with fields {sorted(set(plain) - {'kind'})}: {error}") from error


@dataclass(frozen=True, eq=False)
class Average(Statistic):
    """Weighted mean of a number such as the loss; computes {name: total / weight}; nan and inf pass through.

    Args:
        name: Name of the metric.
        total: Sum of weight * value.
        weight: Sum of the weights: examples, tokens or pixels.
    """

    name: str
    total: float
    weight: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"Average.name={self.name!r}: must be a non-empty string, the name of the metric")
        _set_total_and_weight(self)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "name")
        return type(self)(self.name, self.total + other.total, self.weight + other.weight)

    def compute(self) -> dict[str, float]:
        """{name: total / weight}."""
        return {self.name: _ratio(self.total, self.weight)}


@dataclass(frozen=True, eq=False)
class Perplexity(Statistic):
    """Perplexity of a language model; computes {"perplexity": exp(total / weight)}, inf where float64 ends.

    Args:
        total: Sum of the tokens' negative log-likelihoods, in nats.
        weight: Number of tokens.
    """

    total: float
    weight: float

    def __post_init__(self) -> None:
        _set_total_and_weight(self)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other)
        return type(self)(self.total + other.total, self.weight + other.weight)

    def compute(self) -> dict[str, float]:
        """{"perplexity": exp(total / weight)}."""
        try:
            return {"perplexity": math.exp(_ratio(self.total, self.weight))}
        except OverflowError:
            return {"perplexity": math.inf}


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
        matrix = _counts("Confusion.matrix", self.matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise DataError(f"Confusion.matrix of shape {matrix.shape}: must be [c, c], c >= 1")
        _assign(self, matrix=matrix)

    @classmethod
    def of(cls, targets: Tensor, predictions: Tensor, num_classes: int) -> Self:
        """Count pairs of labels, both [n] in 0..num_classes-1."""
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: must be >= 1")
        _check_lengths(targets=targets, predictions=predictions)
        truth, predicted = _labels("targets", targets, num_classes), _labels("predictions", predictions, num_classes)
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
            "accuracy": _ratio(int(self.matrix.trace()), int(self.matrix.sum())),
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
            scores = _read_only(np.array(self.scores, dtype=np.float32) + np.float32(0))  # -0.0 and 0.0 are one score
        positives = _counts("RankCounts.positives", self.positives)
        negatives = _counts("RankCounts.negatives", self.negatives)
        _check_lengths(scores=scores, positives=positives, negatives=negatives)
        if not (np.isfinite(scores).all() and (scores[1:] > scores[:-1]).all()):
            raise DataError("RankCounts.scores: must be finite, distinct and ascending; RankCounts.of sorts raw scores")
        _assign(self, scores=scores, positives=positives, negatives=negatives)

    @classmethod
    def of(cls, scores: Tensor, targets: Tensor) -> Self:
        """Count targets [n] in {0, 1} by their scores [n], which are rounded to float32."""
        _check_lengths(scores=scores, targets=targets)
        positives = _labels("targets", targets, 2)
        largest = float(np.finfo(np.float32).max)
        return cls._merged(_reals("scores", scores, -largest, largest).astype(np.float32), positives, 1 - positives)

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
        return {"auc": _ratio(twice_won, 2 * int(self.positives.sum()) * int(self.negatives.sum()))}


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
        parts = {name: _counts(f"CalibrationBins.{name}", getattr(self, name)) for name in names}
        _check_lengths(**parts)
        if len(parts["counts"]) == 0:
            raise DataError("CalibrationBins of 0 bins: must hold at least 1")
        if (parts["correct"] > parts["counts"]).any() or (parts["confidence"] > parts["counts"] * _FIXED_POINT).any():
            raise DataError("CalibrationBins: correct and confidence must be at most counts in every bin")
        _assign(self, **parts)

    @classmethod
    def of(cls, confidence: Tensor, correct: Tensor, num_bins: int = 15) -> Self:
        """Count predictions: their confidences [n] in [0, 1], and whether each was right, [n] bool or 0/1."""
        if num_bins < 1:
            raise ConfigError(f"num_bins={num_bins}: must be >= 1; 15 is usual")
        _check_lengths(confidence=confidence, correct=correct)
        right = _labels("correct", correct, 2)
        units = np.rint(_reals("confidence", confidence, 0.0, 1.0) * _FIXED_POINT).astype(np.int64)  # [n]
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
        return {"ece": _ratio(int(gaps.sum()), int(self.counts.sum()) * _FIXED_POINT)}


@dataclass(frozen=True)
class Statistics:
    """What an evaluation hands back: named statistics, merged name by name.

    Args:
        parts: (name, statistic) pairs, kept in the order of their names, so that `a + b == b + a`.
    Raises: ConfigError if a name occurs twice.
    """

    parts: tuple[tuple[str, Statistic], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.parts]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"Statistics.parts: {repeated} occur more than once; give each part its own name")
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda part: part[0])))

    @classmethod
    def of(cls, parts: Mapping[str, Statistic]) -> Self:
        """Bundle statistics by name."""
        return cls(tuple(parts.items()))

    @classmethod
    def empty(cls) -> Self:
        """The neutral element, a start for `sum(parts, Statistics.empty())`."""
        return cls()

    def __add__(self, other: "Statistics") -> Self:
        merged = dict(self.parts)
        for name, part in other.parts:
            merged[name] = merged[name] + part if name in merged else part
        return self.of(merged)

    def get(self, name: str) -> Statistic | None:
        """The statistic of this name, or None."""
        return dict(self.parts).get(name)

    def compute(self) -> dict[str, float]:
        """The metrics of all parts; ConfigError if two parts report one metric."""
        metrics: dict[str, float] = {}
        for name, part in self.parts:
            values = part.compute()
            twice = sorted(values.keys() & metrics.keys())
            if twice:
                raise ConfigError(f"Statistics part {name!r}: {twice} are reported by another part too; rename one")
            metrics.update(values)
        return metrics

    def to_plain(self) -> dict[str, Any]:
        """{name: part.to_plain()}."""
        return {name: part.to_plain() for name, part in self.parts}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read back what `to_plain` wrote."""
        return cls.of({name: statistic_from_plain(part) for name, part in plain.items()})


def _subclasses(kind: type[Any]) -> Iterator[type[Statistic]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _ratio(total: float, weight: float) -> float:
    return total / weight if weight else math.nan


def _set_total_and_weight(statistic: Average | Perplexity) -> None:
    """Make both float64, and check them."""
    kind = type(statistic).__name__
    total, weight = float(statistic.total), float(statistic.weight)
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"{kind}.weight={weight}: must be finite and >= 0")
    _assign(statistic, total=total, weight=weight)


def _assign(statistic: Statistic, **values: object) -> None:
    """Store the checked form of the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(statistic, name, value)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _counts(what: str, values: np.ndarray) -> np.ndarray:
    """A read-only int64 copy of numbers >= 0."""
    array = np.array(values)
    if array.size and array.dtype.kind not in "iu":
        raise DataError(f"{what} of dtype {array.dtype}: must hold integers >= 0")
    counts = array.astype(np.int64)
    if (counts < 0).any():
        raise DataError(f"{what} holds {counts.min()}: must hold integers >= 0")
    return _read_only(counts)


def _check_lengths(**values: np.ndarray | Tensor) -> None:
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise DataError(f"shapes {shapes}: must be one-dimensional and equally long; flatten or squeeze them")


def _labels(what: str, values: Tensor, num_classes: int) -> np.ndarray:
    """The labels as int64 [n]; DataError names the first that is not one."""
    array = values.detach().cpu().to(float64).numpy()
    fits = (array >= 0) & (array < num_classes) & (array == np.floor(array))
    _refuse_first(what, values, fits, f"a whole number from 0 to {num_classes - 1}")
    return array.astype(np.int64)


def _reals(what: str, values: Tensor, least: float, most: float) -> np.ndarray:
    """The values as float64 [n]; DataError names the first that is nan or outside [least, most]."""
    array = values.detach().cpu().to(float64).numpy()
    fits = (array >= least) & (array <= most)
    _refuse_first(what, values, fits, f"a number from {least:g} to {most:g}; check the model's outputs")
    return array


def _refuse_first(what: str, values: Tensor, fits: np.ndarray, accepted: str) -> None:
    if not fits.all():
        place = int(fits.argmin())
        raise DataError(f"{what}[{place}]={values[place].item()}: must be {accepted}")
