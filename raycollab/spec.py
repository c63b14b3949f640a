"""What stands where in the vectors that travel: names, shapes and places.

`[d]` is the vector of exchanged parameters, `[b]` the vector of exchanged float buffers. An agent may hold only a part
of the driver's vectors: its Coverage says which.
"""

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.errors import ModelError

DELTA = "delta"
PARAMS = "params"
BUFFERS = "buffers"


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


@dataclass(frozen=True)
class Coverage:
    """What part of the exchange an agent takes part in: of the parameters and of the float buffers."""

    params: Segments
    buffers: Segments

    def of(self, name: str) -> Segments:
        """The segments of a vector by its name; every vector but "buffers" is shaped like the parameters."""
        return self.buffers if name == BUFFERS else self.params


@dataclass(frozen=True)
class Entry:
    """A named tensor's place in a vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

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
    """What stands where in the exchanged vectors: "params" [d] and "buffers" [b]."""

    params: tuple[Entry, ...]
    buffers: tuple[Entry, ...]

    @property
    def num_params(self) -> int:
        """Length d of the parameter vector."""
        return self.params[-1].stop if self.params else 0

    @property
    def num_buffers(self) -> int:
        """Length b of the buffer vector."""
        return self.buffers[-1].stop if self.buffers else 0

    def digest(self) -> str:
        """Short hash of names, shapes and dtypes."""
        rows = [(entry.name, entry.shape, entry.dtype) for entry in (*self.params, *self.buffers)]
        return hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest()

    def coverage(self, part: "ParamSpec") -> Coverage:
        """Where the vectors of `part` lie in these.

        Raises: ModelError if `part` holds a name that is not here, or one of another shape.
        """
        return Coverage(
            _locate(self.params, part.params, self.num_params), _locate(self.buffers, part.buffers, self.num_buffers)
        )


def _locate(whole: tuple[Entry, ...], part: tuple[Entry, ...], size: int) -> Segments:
    places = {entry.name: entry for entry in whole}
    ranges: list[tuple[int, int]] = []
    for entry in part:
        place = places.get(entry.name)
        if place is None or place.shape != entry.shape:
            expected = "no such parameter" if place is None else f"shape {place.shape}"
            raise ModelError(
                f"exchanged parameter {entry.name!r} has shape {entry.shape}, the driver's model has {expected}"
            )
        if ranges and ranges[-1][1] == place.offset:
            ranges[-1] = (ranges[-1][0], place.stop)
        elif place.size:
            ranges.append((place.offset, place.stop))
    return Segments(size, tuple(ranges)) if ranges or size else Segments.all(0)
