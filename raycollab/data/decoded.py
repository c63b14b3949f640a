"""A column as it came out of its decoder: values, and what is wrong with the rows that have none."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """A column.

    Args:
        values: One entry a row [n, ...]; zeros where a row is bad.
        bad: What is wrong with rows that cannot be used, and what to do, by their place: "is null; fill it".
    """

    values: Tensor
    bad: dict[int, str] = field(default_factory=dict)
