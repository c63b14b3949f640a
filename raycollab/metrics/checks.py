"""What statistics share inside: checks of the counts, labels and scores they are given, and how they store them."""

import math

import numpy as np
from torch import Tensor, float64

from raycollab.errors import DataError


def ratio(total: float, weight: float) -> float:
    """Total / weight; nan where the weight is 0."""
    return total / weight if weight else math.nan


def assign(statistic: object, **values: object) -> None:
    """Store the checked form of the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(statistic, name, value)


def read_only(array: np.ndarray) -> np.ndarray:
    """The array itself, which from now on refuses to be written to."""
    array.setflags(write=False)
    return array


def as_counts(what: str, values: np.ndarray) -> np.ndarray:
    """A read-only int64 copy of numbers >= 0."""
    array = np.array(values)
    if array.size and array.dtype.kind not in "iu":
        raise DataError(f"{what} of dtype {array.dtype}: must hold integers >= 0")
    counts = array.astype(np.int64)
    if (counts < 0).any():
        raise DataError(f"{what} holds {counts.min()}: must hold integers >= 0")
    return read_only(counts)


def check_lengths(**values: np.ndarray | Tensor) -> None:
    """DataError unless all are of one shape [n]."""
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise DataError(f"shapes {shapes}: must be one-dimensional and equally long; flatten or squeeze them")


def as_labels(what: str, values: Tensor, num_classes: int) -> np.ndarray:
    """The labels as int64 [n]; DataError names the first that is not one."""
    array = values.detach().cpu().to(float64).numpy()
    fits = (array >= 0) & (array < num_classes) & (array == np.floor(array))
    _refuse_first(what, values, fits, f"a whole number from 0 to {num_classes - 1}")
    return array.astype(np.int64)


def as_reals(what: str, values: Tensor, least: float, most: float) -> np.ndarray:
    """The values as float64 [n]; DataError names the first that is nan or outside [least, most]."""
    array = values.detach().cpu().to(float64).numpy()
    fits = (array >= least) & (array <= most)
    _refuse_first(what, values, fits, f"a number from {least:g} to {most:g}; check the model's outputs")
    return array


def _refuse_first(what: str, values: Tensor, fits: np.ndarray, accepted: str) -> None:
    if not fits.all():
        place = int(fits.argmin())
        raise DataError(f"{what}[{place}]={values[place].item()}: must be {accepted}")
