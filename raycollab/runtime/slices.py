"""Long vectors in slices, so that no process has to take in all that hosts send."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raycollab.aggregation import Node, Sum, WeightedSum, sum_of, terms_of
from raycollab.aggregation.weighted_sum import Terms
from raycollab.spec import Segments
from raycollab.tree import map_leaves
from raycollab.vectors import empty

_SHORT = 1024  # elements; shorter vectors are not worth cutting
Slice = Sequence[np.ndarray]  # one slice of each vector that was cut


class Cut:
    """Stands for a vector that is elsewhere, in slices.

    Args:
        number: Which of the vectors that were cut with it.
        array: The vector [n].

    Attributes:
        shape, dtype, nbytes: Those of the vector.
        share: In which of a round's shares it is; known where shares come together.
        norm: Its L2 norm, once somebody has looked at it.
    """

    def __init__(self, number: int, array: np.ndarray):
        self.number = number
        self.shape = array.shape
        self.dtype = torch.from_numpy(array[:0]).dtype
        self.nbytes = array.nbytes
        self.share = 0
        self.norm = float("nan")


def places(size: int, count: int) -> list[slice]:
    """How a vector of this length is cut."""
    return [slice(*ends) for ends in pairwise(size * part // count for part in range(count + 1))]


def cut_up(nodes: Sequence[Node], count: int) -> tuple[tuple[Node, ...], list[list[np.ndarray]]]:
    """Packed sums without their long vectors, and so many slices of all of these."""
    whole: list[np.ndarray] = []

    def leaf(value: Any) -> Any:
        if not (isinstance(value, np.ndarray) and value.ndim == 1 and len(value) >= _SHORT):
            return value
        whole.append(value)
        return Cut(len(whole) - 1, value)

    nodes = tuple(map_leaves(leaf, list(nodes)))
    return nodes, [[array[places(len(array), count)[part]] for array in whole] for part in range(count)]


def each_cut(tree: Any, change: Callable[[Cut], None]) -> None:
    """Do something to all that stands for vectors in a tree."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Cut):
            change(value)
        return value

    map_leaves(leaf, tree)


def squared_norms(part: Slice) -> list[float]:
    """The squared L2 norm of each slice; NaN or infinite if an element is."""
    return [float(torch.linalg.vector_norm(torch.from_numpy(each)).double().square()) for each in part]


def sum_of_slices(terms: Terms, shares: Sequence[Slice]) -> np.ndarray:
    """Sums of which each vector is a Cut, worked out on one slice but for their factor: the bits of whole vectors."""

    def there(tree: Terms) -> Terms:
        if isinstance(tree, Sum):
            held = shares[tree.vector.share][tree.vector.number]  # type: ignore[attr-defined]
            return replace(tree, vector=torch.from_numpy(held))
        return tuple(map(there, tree))

    return sum_of(there(terms)).numpy()


def elsewhere(total: WeightedSum) -> dict[tuple[str, Segments | None], Terms]:
    """The sums of a total whose vectors are Cuts, by name and elements, each with the terms in the order of adding."""
    held = {(name, segments): terms_of(each) for name, of in total.vectors.items() for segments, each in of.items()}
    return {place: terms for place, terms in held.items() if isinstance(_first_of(terms).vector, Cut)}


def bring_back(
    total: WeightedSum, places: Iterable[tuple[str, Segments | None]], slices: Sequence[Sequence[np.ndarray]]
) -> None:
    """Put the sums of these places into a total, given those of each slice in the order of the places."""
    for number, (name, segments) in enumerate(places):
        sum = total.vectors[name][segments]
        vector = put_together(sums[number] for sums in slices)
        total.vectors[name][segments] = Sum(sum.weight, vector, sum.times)


def _first_of(terms: Terms) -> Sum:
    while not isinstance(terms, Sum):
        terms = terms[0]
    return terms


def put_together(parts: Iterable[np.ndarray]) -> Tensor:
    """One vector of its slices, in memory that nobody holds."""
    arrays = [torch.from_numpy(part) for part in parts]
    whole = empty(sum(map(len, arrays)))
    for place, array in zip(whole.split([len(array) for array in arrays]), arrays, strict=True):
        place.copy_(array)
    return whole
