"""A weighted sum that no order and no grouping of its terms changes by a bit."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Self

import torch
from torch import Tensor

from raycollab.aggregation.partial import NamedSums
from raycollab.errors import UpdateError
from raycollab.spec import Segments
from raycollab.types import Update

_BITS = 36  # after the binary point
_SCALE = 2.0**_BITS
_LARGEST = 2**63  # of an int64


@dataclass
class FixedSum:
    """A sum of fixed-point numbers: int64 [n] in units of 2**-36, the weight in it, and a bound on its elements."""

    weight: Fraction
    vector: Tensor
    bound: int

    def own(self) -> "FixedSum":
        """The same sum in new memory."""
        return FixedSum(self.weight, self.vector.clone(), self.bound)

    def add(self, other: "FixedSum") -> None:
        """Add in place."""
        self.weight += other.weight
        self.bound += other.bound
        self.vector += other.vector


@dataclass
class ExactSum(NamedSums):
    """Sums of weight times value as whole numbers of 2**-36, with the weight that arrived as a fraction.

    Adding whole numbers rounds nothing, so any grouping gives the same bits. A term is rounded once, by 2**-37 at most:
    the mean of n updates of total weight W is off by n / W * 2**-37 at most, which for weights >= 1 is below 7.3e-12,
    and the division is rounded to float32. Twice the memory of a WeightedSum.
    """

    count: int = 0
    weight: Fraction = Fraction(0)
    vectors: dict[str, dict[Segments | None, FixedSum]] = field(default_factory=dict)
    scalars: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)  # weight, weight times value

    @classmethod
    def of(cls, update: Update) -> Self:
        """Weight times the update, rounded to fixed point."""
        weight = Fraction(update.weight) * Fraction(update.discount)
        vectors = {
            name: {update.segments(name): _fixed(vector, weight)} for name, vector in sorted(update.vectors.items())
        }
        scalars = {name: (weight, weight * Fraction(value)) for name, value in update.scalars.items()}
        return cls(1, weight, vectors, scalars)

    def check(self) -> None:
        """Raise UpdateError if the weights sum to zero, or the sums may have left the range of fixed point."""
        if not self.weight > 0:
            raise UpdateError(f"the weights of {self.count} updates sum to 0: at least one must be positive")
        for name, sums in self.vectors.items():
            if sum(held.bound for held in sums.values()) >= _LARGEST:
                raise UpdateError(
                    f"Mean(exact=True): weight times {name!r} sums up to 2**27 = 1.3e8 or more, and fixed point ends "
                    f"there; use weights='uniform', clip the updates, or set exact=False"
                )

    def mean(self) -> Update:
        """Each element divided by the weight that arrived for it; elements that nobody sent stay at zero.

        Raises: UpdateError; see `check`.
        """
        self.check()
        vectors = {name: _mean(sums) for name, sums in sorted(self.vectors.items())}
        scalars = {name: float(value / weight) for name, (weight, value) in sorted(self.scalars.items()) if weight > 0}
        return Update("", float(self.weight), vectors, scalars)


def _fixed(vector: Tensor, weight: Fraction) -> FixedSum:
    scaled = (vector.double() * float(weight)).mul_(_SCALE).round_()
    largest = float(scaled.abs().max()) if scaled.numel() else 0.0
    if largest >= _LARGEST:  # a conversion would wrap: the bound alone says so
        return FixedSum(weight, torch.zeros_like(scaled, dtype=torch.int64), _LARGEST)
    return FixedSum(weight, scaled.long(), int(largest))


def _mean(sums: dict[Segments | None, FixedSum]) -> Tensor:
    """Mean of a vector over updates that hold different elements of it."""
    if list(sums) == [None]:
        whole = sums[None]
        return _divided(whole.vector, torch.tensor(float(whole.weight), dtype=torch.float64))
    size = next(s.size if s is not None else held.vector.numel() for s, held in sums.items())
    total = torch.zeros(size, dtype=torch.int64)
    weight = torch.zeros(size, dtype=torch.float64)
    for segments, held in sorted(sums.items(), key=lambda item: () if item[0] is None else item[0].ranges):
        segments = segments or Segments.all(size)
        segments.add_into(total, held.vector)
        segments.add_into(weight, torch.full((held.vector.numel(),), float(held.weight), dtype=torch.float64))
    return _divided(total, weight)


def _divided(total: Tensor, weight: Tensor) -> Tensor:
    mean = total.double() / _SCALE / weight.clamp(min=1e-300)
    return torch.where(weight > 0, mean, 0.0).float()
