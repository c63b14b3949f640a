"""What regression is measured by: squared and absolute errors, and how much of the targets' variance is explained."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor, float64

from raycollab.errors import DataError
from raycollab.metrics.checks import assign, ratio, read_only
from raycollab.metrics.statistic import Statistic


@dataclass(frozen=True, eq=False)
class Residuals(Statistic):
    """Errors of a regression; computes mse, rmse, mae and r2, over all outputs k.

    r2 is 1 less the squared errors over the targets' squared deviations from their mean, by output, then averaged over
    outputs; nan where targets do not vary. Means and deviations merge by the parallel formula, so that nothing is lost
    where targets are large and vary little.

    Args:
        count: Examples.
        mean: Of the targets [k].
        deviations: Sum of the targets' squared deviations from it [k].
        squared: Sum of squared errors [k].
        absolute: Sum of absolute errors [k].
    Source: Chan, Golub and LeVeque, COMPSTAT 1982, equation 2.1.
    """

    count: int
    mean: np.ndarray
    deviations: np.ndarray
    squared: np.ndarray
    absolute: np.ndarray

    def __post_init__(self) -> None:
        names = ("mean", "deviations", "squared", "absolute")
        values = {name: read_only(np.array(getattr(self, name), dtype=np.float64)) for name in names}
        shapes = {name: value.shape for name, value in values.items()}
        if len(set(shapes.values())) > 1 or values["mean"].ndim != 1 or not values["mean"].size:
            raise DataError(f"Residuals of shapes {shapes}: must all be [k], k >= 1")
        if self.count < 0:
            raise DataError(f"Residuals.count={self.count}: must be >= 0")
        assign(self, **values)

    @classmethod
    def of(cls, targets: Tensor, predictions: Tensor) -> Self:
        """Measure predictions of targets, both [n] or both [n, k]."""
        if targets.shape != predictions.shape or targets.ndim not in (1, 2):
            shapes = f"targets {list(targets.shape)}, predictions {list(predictions.shape)}"
            raise DataError(f"Residuals.of: {shapes}: must be of one shape, [n] or [n, k]")
        truth, found = _by_output(targets), _by_output(predictions)  # each [n, k]
        mean = truth.mean(0) if len(truth) else np.zeros(truth.shape[1])
        errors = found - truth
        deviations = ((truth - mean) ** 2).sum(0)
        return cls(len(truth), mean, deviations, (errors**2).sum(0), np.abs(errors).sum(0))

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "num_outputs")
        count = self.count + other.count
        if not count:
            return self
        mean = (self.count * self.mean + other.count * other.mean) / count
        between = (self.mean - other.mean) ** 2 * (self.count * other.count / count)
        return type(self)(
            count,
            mean,
            self.deviations + other.deviations + between,
            self.squared + other.squared,
            self.absolute + other.absolute,
        )

    @property
    def num_outputs(self) -> int:
        """Outputs, k."""
        return len(self.mean)

    def compute(self) -> dict[str, float]:
        """The four metrics; nan without examples."""
        values = self.count * self.num_outputs
        mse = ratio(float(self.squared.sum()), values)
        explained = [1 - ratio(error, all_) for error, all_ in zip(self.squared, self.deviations, strict=True)]
        return {
            "mse": mse,
            "rmse": math.sqrt(mse) if mse >= 0 else math.nan,
            "mae": ratio(float(self.absolute.sum()), values),
            "r2": float(np.mean(explained)),
        }


def _by_output(values: Tensor) -> np.ndarray:
    wide = values if values.ndim == 2 else values[:, None]
    found: np.ndarray = wide.detach().cpu().to(float64).numpy()
    return found
