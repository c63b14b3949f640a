"""Weighted sums as whole numbers of a common unit, so small that the sum of all agents cannot leave the range."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from raycollab.aggregation import Sum, WeightedSum
from raycollab.errors import UpdateError
from raycollab.secure.residues import HEAD_MODULUS, Residues
from raycollab.vectors import by_slices

MOST_EXAMPLES = "most_examples"  # a scalar of the round: no agent has more, rounded up to a power of two
_UNIT = 2.0**40  # units of the head to 1
_EXACT = 52  # bits of a float64 that are sure to be exact
_DTYPES = {32: torch.int32, 64: torch.int64}


@dataclass(frozen=True)
class Form:
    """How numbers are written as residues: what is of one form can be added.

    An element x of a vector is kept within -clip .. clip, so weight * x within clip * max_weight on either side. That
    is written as `limit` units, and num_agents times the limit is within the ring: sums never wrap.

    Args:
        bits: Of a residue, 32 or 64.
        clip: Largest size of an element.
        max_weight: Largest weight.
        num_agents: Agents that may be in a sum.
        vectors: Name and length of each vector, in order.
        scalars: Names of the numbers beside them, in order.
        made_in: Round, attempt and version.
    """

    bits: int
    clip: float
    max_weight: float
    num_agents: int
    vectors: tuple[tuple[str, int], ...]
    scalars: tuple[str, ...]
    made_in: tuple[int, int, int]

    @cached_property
    def limit(self) -> int:
        """Units that an agent's number has at most."""
        most = (2 ** (self.bits - 1) - 1) // self.num_agents
        inexact = max(0, most.bit_length() - _EXACT)
        return most >> inexact << inexact

    @property
    def scale(self) -> float:
        """Units to 1."""
        return self.limit / (self.clip * self.max_weight)

    @cached_property
    def places(self) -> tuple[slice, ...]:
        """Where each vector's elements stand in the body."""
        ends = [0]
        for _, length in self.vectors:
            ends.append(ends[-1] + length)
        return tuple(slice(*pair) for pair in pairwise(ends))

    def fits(self, residues: object) -> bool:
        """Whether something is residues of this form."""
        if not isinstance(residues, Residues) or not isinstance(residues.body, Tensor):
            return False
        count = 3 + len(self.vectors) + 2 * len(self.scalars)
        known = len(residues.head) == count and all(isinstance(value, int) for value in residues.head)
        length = sum(length for _, length in self.vectors)
        return known and residues.body.shape == (length,) and residues.body.dtype == _DTYPES.get(self.bits)

    def encode(self, partial: WeightedSum, agent: str) -> Residues:
        """One agent's sum as residues.

        The head holds 1 for the agent, how many of its elements were too large and are cut to `clip`, its weight, that
        of each vector, and weight and value of each scalar.

        Raises: UpdateError for a weight above max_weight, or a number that the head cannot hold.
        """
        sums = [partial.vectors[name][None] for name, _ in self.vectors]
        body = torch.empty(sum(length for _, length in self.vectors), dtype=_DTYPES[self.bits])
        clipped = 0
        for held, place in zip(sums, self.places, strict=True):
            self._check_weight(held.weight, agent)
            clipped += self._write(body[place], held)
        numbers = [1.0, float(clipped), partial.weight, *(held.weight for held in sums)]
        for name in self.scalars:
            numbers += partial.scalars[name]
        return Residues(body, tuple(self._head(number, agent) for number in numbers))

    def decode(self, residues: Residues) -> tuple[WeightedSum, int, int]:
        """The sum that residues are of, how many agents are in it, and how many elements were cut."""
        count, clipped, weight, *rest = map(_signed, residues.head)
        weights, pairs = rest[: len(self.vectors)], rest[len(self.vectors) :]
        vectors = {
            name: {None: Sum(held, self._read(residues.body[place]))}
            for (name, _), place, held in zip(self.vectors, self.places, weights, strict=True)
        }
        scalars = {name: (pairs[2 * place], pairs[2 * place + 1]) for place, name in enumerate(self.scalars)}
        total = WeightedSum(round(count), weight, vectors, scalars)  # type: ignore[arg-type]
        return total, round(count), round(clipped)

    def _write(self, out: Tensor, held: Sum) -> int:
        """Write weight times a vector; returns how many elements were too large."""
        factor = held.times * self.scale
        most = min(self.clip * held.weight * self.scale, float(self.limit))
        vector, cut = held.vector.cpu(), list[int]()

        def work(place: slice) -> None:
            units = vector[place].double().mul_(factor)
            if max(map(abs, map(float, units.aminmax()))) > most:
                cut.append(int((units.abs() > most).sum()))
                units.clamp_(-most, most)
            out[place] = units.round_().to(out.dtype)

        by_slices(out.numel(), work)
        return sum(cut)

    def _read(self, body: Tensor) -> Tensor:
        vector = torch.empty(body.numel())

        def work(place: slice) -> None:
            vector[place] = body[place].double().div_(self.scale)

        by_slices(body.numel(), work)
        return vector

    def _check_weight(self, weight: float, agent: str) -> None:
        if not 0 <= weight <= self.max_weight:
            raise UpdateError(
                f"agent {agent!r} has weight {weight:g}, and this round's secure sum takes 0 to {self.max_weight:g}: "
                f"set SecureSum.max_weight to the largest weight that any agent can have"
            )

    def _head(self, number: float, agent: str) -> int:
        units = round(number * _UNIT)
        if abs(units) >= HEAD_MODULUS // (2 * self.num_agents):
            raise UpdateError(f"agent {agent!r}: {number:g} is too large for a secure sum of {self.num_agents} agents")
        return units % HEAD_MODULUS


def _signed(residue: int) -> float:
    return (residue - HEAD_MODULUS if residue >= HEAD_MODULUS // 2 else residue) / _UNIT
