"""What stands where in the vectors that travel: names, shapes and places.

`[d]` is the vector of exchanged parameters, `[b]` the vector of exchanged float buffers. An agent may hold only a part
of the driver's vectors: its Coverage says which.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isclose, prod

import torch
from torch import Tensor

from raycollab.errors import ModelError

DELTA = "delta"
PARAMS = "params"
BUFFERS = "buffers"
ADAPTER = "raycollab_adapter"  # in the names of adapters' parameters alone: LAYER.lora_A.raycollab_adapter.weight
BASE = "base_layer"  # what peft calls the layer inside an adapted one: LAYER.base_layer.weight


@dataclass(frozen=True)
class Segments:
    """Which elements of a global vector a local vector holds, in the local vector's order.

    Args:
        size: Length of the global vector.
        ranges: (start, stop) of each run of elements; one run over everything when nothing is left out.
    """

    size: int
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def all(cls, size: int) -> "Segments":
        """The whole vector."""
        return cls(size, ((0, size),))

    @property
    def full(self) -> bool:
        """Whether the local vector is the global one."""
        return self.ranges == ((0, self.size),)

    def take(self, vector: Tensor) -> Tensor:
        """Pick the local elements out of a global vector: [size] -> [local]; a view when that is everything."""
        if self.full:
            return vector
        return torch.cat([vector[:0], *(vector[start:stop] for start, stop in self.ranges)])

    def add_into(self, total: Tensor, local: Tensor) -> None:
        """Add local elements to their places in a global vector, in place."""
        offset = 0
        for start, stop in self.ranges:
            total[start:stop] += local[offset : offset + stop - start]
            offset += stop - start

    def put(self, vector: Tensor, local: Tensor) -> Tensor:
        """A global vector with local elements in their places, in new memory."""
        vector, offset = vector.clone(), 0
        for start, stop in self.ranges:
            vector[start:stop] = local[offset : offset + stop - start]
            offset += stop - start
        return vector

    def within(self, group: "Segments") -> tuple["Segments", "Segments"]:
        """What the local vector holds of a group of global elements.

        Args:
            group: Which elements of the same global vector form the group.
        Returns: Where they stand in the local vector, and in a vector of the group's elements, in one order.
        """
        return _overlap(self, group)

    @property
    def count(self) -> int:
        """Length of the local vector."""
        return sum(stop - start for start, stop in self.ranges)


@lru_cache(maxsize=1024)
def _overlap(held: Segments, group: Segments) -> tuple[Segments, Segments]:
    here: list[tuple[int, int]] = []
    there: list[tuple[int, int]] = []
    offset = 0
    for start, stop in held.ranges:
        place = 0
        for first, last in group.ranges:
            begin, end = max(start, first), min(stop, last)
            if begin < end:
                here.append((offset + begin - start, offset + end - start))
                there.append((place + begin - first, place + end - first))
            place += last - first
        offset += stop - start
    return Segments(held.count, _joined(here)), Segments(group.count, _joined(there))


def _joined(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The ranges, with neighbours made one."""
    joined: list[tuple[int, int]] = []
    for start, stop in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)


@dataclass(frozen=True)
class Coverage:
    """What part of the exchange an agent takes part in: of the parameters and of the float buffers."""

    params: Segments
    buffers: Segments

    def of(self, name: str) -> Segments:
        """The segments of a vector by its name; every vector but "buffers" is shaped like the parameters."""
        return self.buffers if name == BUFFERS else self.params

    @property
    def full(self) -> bool:
        """Whether that is all of it."""
        return self.params.full and self.buffers.full

    def take(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pick the local elements out of global vectors."""
        return {name: self.of(name).take(vector) for name, vector in vectors.items()}


@dataclass(frozen=True)
class Entry:
    """A named tensor's place in a vector.

    `scale` is what a net multiplies an adapter by: the same factors mean the same only at one scale.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    scale: float = 1.0

    @property
    def size(self) -> int:
        """Number of elements."""
        return torch.Size(self.shape).numel()

    @property
    def stop(self) -> int:
        """Offset behind its last element."""
        return self.offset + self.size


@dataclass(frozen=True)
class ParamSpec:
    """What stands where in the exchanged vectors: "params" [d] and "buffers" [b].

    `slices` says whether an agent's tensor may be smaller than the one of its name here: see Exchange.
    """

    params: tuple[Entry, ...]
    buffers: tuple[Entry, ...]
    slices: bool = False

    @property
    def num_params(self) -> int:
        """Length d of the parameter vector."""
        return self.params[-1].stop if self.params else 0

    @property
    def num_buffers(self) -> int:
        """Length b of the buffer vector."""
        return self.buffers[-1].stop if self.buffers else 0

    def without(self, names: Collection[str]) -> "ParamSpec":
        """The same without some parameters and buffers, closed up.

        Raises: ModelError for a name that is not there.
        """
        there = [entry.name for entry in (*self.params, *self.buffers)]
        if strange := sorted(set(names) - set(there)):
            raise ModelError(f"nothing exchanged is called {strange[0]!r}; there are: {', '.join(there)}")
        params, buffers = (_closed_up(entries, names) for entries in (self.params, self.buffers))
        return replace(self, params=params, buffers=buffers)

    def digest(self) -> str:
        """Short hash of names, shapes and dtypes."""
        rows = [(entry.name, entry.shape, entry.dtype) for entry in (*self.params, *self.buffers)]
        return hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest()

    def coverage(self, part: "ParamSpec") -> Coverage:
        """Where the vectors of `part` lie in these.

        With `slices`, a tensor of `part` may be the first rows, columns, and so on of the one of its name here.

        Raises: ModelError if `part` holds a name that is not here, or one of a shape that does not fit.
        """
        return Coverage(
            _locate(self.params, part.params, self.num_params, self.slices),
            _locate(self.buffers, part.buffers, self.num_buffers, self.slices),
        )


def _closed_up(entries: tuple[Entry, ...], left_out: Collection[str]) -> tuple[Entry, ...]:
    kept, offset = list[Entry](), 0
    for entry in entries:
        if entry.name not in left_out:
            kept.append(replace(entry, offset=offset))
            offset = kept[-1].stop
    return tuple(kept)


def fits(shape: tuple[int, ...], whole: tuple[int, ...], slices: bool) -> bool:
    """Whether a tensor can stand for another one of this name; with slices it may be its first rows, columns, ..."""
    if not slices:
        return shape == whole
    return len(shape) == len(whole) and all(size <= most for size, most in zip(shape, whole, strict=True))


def leading(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor's first rows, columns, ...: a view of this shape.

    Raises: ModelError if it is smaller.
    """
    if not fits(tuple(shape), tuple(tensor.shape), slices=True):
        raise ModelError(f"a tensor of shape {tuple(tensor.shape)} has no part of shape {tuple(shape)}")
    return tensor[tuple(slice(0, size) for size in shape)]


def _locate(whole: tuple[Entry, ...], part: tuple[Entry, ...], size: int, slices: bool) -> Segments:
    places = {entry.name: entry for entry in whole}
    ranges: list[tuple[int, int]] = []
    for entry in part:
        place = places.get(entry.name)
        if place is None or not fits(entry.shape, place.shape, slices):
            expected = "no such parameter" if place is None else f"shape {place.shape}"
            raise ModelError(
                f"exchanged parameter {entry.name!r} has shape {entry.shape}, the driver's model has {expected}"
                + ("; with Exchange(slices=True) an agent's tensor can be smaller, never larger" if slices else "")
            )
        if not isclose(entry.scale, place.scale):
            raise ModelError(
                f"adapter {entry.name!r} is scaled by {entry.scale:g}, the driver's by {place.scale:g}: where ranks "
                f"differ, LoRA.alpha must be in proportion to the rank, as with None (stabilised: to its root)"
            )
        ranges += _leading(entry.shape, place)
    return Segments(size, _joined(ranges)) if ranges or size else Segments.all(0)


def _leading(shape: tuple[int, ...], place: Entry) -> list[tuple[int, int]]:
    """Where the first rows, columns, ... of a tensor stand: one run for each row of the innermost whole part."""
    run, inner = 1, len(shape)  # elements that stand side by side, and the first dimension that is all in them
    while inner and (run == prod(place.shape[inner:])):
        inner -= 1
        run *= shape[inner]
    starts = torch.zeros((), dtype=torch.int64)
    for axis in range(inner):
        steps = torch.arange(shape[axis]) * prod(place.shape[axis + 1 :])
        starts = starts[..., None] + steps
    return [(place.offset + start, place.offset + start + run) for start in starts.flatten().tolist() if run]
