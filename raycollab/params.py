"""A module's parameters as one flat vector, and which of them are exchanged.

The trainable parameters of a module become views into one contiguous buffer per dtype, and so do their gradients:
loading is one copy, a delta one subtraction, an optimizer step a few operations however many layers there are. Tied
weights stand in it once, frozen ones not at all. On the wire and in sums everything is float32.
"""

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from raycollab.config import require
from raycollab.errors import ModelError
from raycollab.types import Coverage, Segments


@dataclass(frozen=True)
class Exchange:
    """Which trainable parameters and float buffers travel; the rest stays private to each agent.

    Args:
        include: Shell patterns over parameter names; one that matches nothing is a ModelError.
        exclude: Patterns taken out of those, e.g. ("head.*",) for a private head.
        buffers: "average" exchanges float buffers such as BatchNorm's statistics (averaged by weight, untouched by
            server optimizers); "private" leaves each agent its own (FedBN, Li et al., ICLR 2021, with the norm
            layers excluded).
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    buffers: str = "average"

    def __post_init__(self) -> None:
        require(self.buffers in ("average", "private"), "Exchange.buffers", self.buffers, "must be 'average' or 'private'")
        object.__setattr__(self, "include", tuple(self.include))
        object.__setattr__(self, "exclude", tuple(self.exclude))

    def matches(self, name: str) -> bool:
        """Whether a parameter of this name travels."""
        included = any(fnmatchcase(name, pattern) for pattern in self.include)
        return included and not any(fnmatchcase(name, pattern) for pattern in self.exclude)

    def check(self, names: list[str]) -> None:
        """Raise ModelError for a pattern that matches no trainable parameter, or if nothing is left to exchange."""
        for pattern in (*self.include, *self.exclude):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError(f"Exchange: pattern {pattern!r} matches no trainable parameter; there are: {', '.join(names)}")
        if not any(self.matches(name) for name in names):
            raise ModelError(f"Exchange: nothing is left to exchange; trainable parameters: {', '.join(names)}")


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
            raise ModelError(f"exchanged parameter {entry.name!r} has shape {entry.shape}, the driver's model has {expected}")
        if ranges and ranges[-1][1] == place.offset:
            ranges[-1] = (ranges[-1][0], place.stop)
        elif place.size:
            ranges.append((place.offset, place.stop))
    return Segments(size, tuple(ranges)) if ranges or size else Segments.all(0)


class FlatModel:
    """A module whose trainable parameters are views into flat buffers; scratch space, never memory.

    Within a dtype the exchanged parameters stand first, in the module's order, then the private ones.

    Args:
        module: Rebound in place; tied weights stay tied.
        exchange: Which parameters and buffers travel.
        device: Where it computes.
    Attributes:
        flats, grads: One buffer per dtype over all trainable parameters, exchanged and private.
        spec: What the exchanged vectors hold.
    Raises: ModelError if nothing is trainable, or the exchange names what is not there.
    """

    def __init__(self, module: nn.Module, exchange: Exchange, device: str = "cpu"):
        self.module = module.to(device)
        self.device = device
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trainable:
            raise ModelError(f"{type(module).__name__} has no trainable parameter: requires_grad is False for all of them")
        exchange.check(list(trainable))
        self.flats: list[Tensor] = []
        self.grads: list[Tensor] = []
        self._shared: list[Tensor] = []  # the exchanged head of each flat buffer
        self._private: dict[str, Tensor] = {}
        entries: list[Entry] = []
        offset = 0
        for dtype in sorted({p.dtype for p in trainable.values()}, key=str):
            group = {name: p for name, p in trainable.items() if p.dtype == dtype}
            shared = [name for name in group if exchange.matches(name)]
            private = [name for name in group if not exchange.matches(name)]
            self._bind([*shared, *private], group, shared_size=sum(group[name].numel() for name in shared))
            for name in shared:
                entries.append(Entry(name, tuple(group[name].shape), str(dtype).removeprefix("torch."), offset))
                offset = entries[-1].stop
            self._private.update({name: group[name].data for name in private})
        self._bind_buffers(exchange)
        self.spec = ParamSpec(tuple(entries), self._buffer_entries)
        self._first_private = {name: tensor.clone() for name, tensor in self._private.items()}
        self.lossy = any(flat.dtype != torch.float32 for flat in self.flats)

    def _bind(self, names: list[str], group: dict[str, nn.Parameter], shared_size: int) -> None:
        flat = torch.cat([group[name].data.reshape(-1) for name in names])
        grad = torch.zeros_like(flat)
        offset = 0
        for name in names:
            parameter = group[name]
            place = slice(offset, offset + parameter.numel())
            parameter.data = flat[place].view(parameter.shape)
            parameter.grad = grad[place].view(parameter.shape)
            offset = place.stop
        self.flats.append(flat)
        self.grads.append(grad)
        self._shared.append(flat[:shared_size])

    def _bind_buffers(self, exchange: Exchange) -> None:
        buffers = dict(self.module.named_buffers())
        persistent = {name: buffers[name] for name in self.module.state_dict() if name in buffers}
        floats = {name: tensor for name, tensor in persistent.items() if tensor.is_floating_point()}
        self._buffers = list(floats.values()) if exchange.buffers == "average" else []
        if exchange.buffers == "private":
            self._private.update(floats)
        self._counters = [(t, t.clone()) for t in persistent.values() if not t.is_floating_point()]
        entries: list[Entry] = []
        for name, tensor in floats.items() if exchange.buffers == "average" else ():
            offset = entries[-1].stop if entries else 0
            entries.append(Entry(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), offset))
        self._buffer_entries = tuple(entries)

    def load(self, params: Tensor, buffers: Tensor | None = None) -> None:
        """Copy exchanged vectors in: params [d], buffers [b]; counters return to where they began."""
        offset = 0
        for shared in self._shared:
            shared.copy_(params[offset : offset + shared.numel()])
            offset += shared.numel()
        if buffers is not None:
            offset = 0
            for tensor in self._buffers:
                tensor.copy_(buffers[offset : offset + tensor.numel()].view(tensor.shape))
                offset += tensor.numel()
        for counter, first in self._counters:
            counter.copy_(first)

    def read(self) -> Tensor:
        """The exchanged parameters as a new float32 vector [d]."""
        return torch.cat([shared.float() for shared in self._shared])

    def read_buffers(self) -> Tensor:
        """The exchanged float buffers as a new float32 vector [b]."""
        if not self._buffers:
            return torch.zeros(0, device=self.device)
        return torch.cat([tensor.reshape(-1).float() for tensor in self._buffers])

    def private(self) -> dict[str, Tensor]:
        """A copy of what stays with the agent: trainable parameters and float buffers that are not exchanged."""
        return {name: tensor.clone() for name, tensor in self._private.items()}

    def load_private(self, state: dict[str, Tensor] | None) -> None:
        """Put an agent's private part back; None puts the initial one."""
        for name, tensor in self._private.items():
            tensor.copy_((self._first_private if state is None else state)[name])

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place."""
        for grad in self.grads:
            grad.zero_()
