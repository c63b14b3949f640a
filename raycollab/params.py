"""A module's parameters as one flat vector, and which of them are exchanged.

The trainable parameters of a module become views into one contiguous buffer per dtype, and so do their gradients:
loading is one copy, a delta one subtraction, an optimizer step a few operations however many layers there are. Tied
weights stand in it once, frozen ones not at all. On the wire and in sums everything is float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.settings import require, require_one_of
from raycollab.spec import ADAPTER, Entry, ParamSpec
from raycollab.vectors import empty, zeros


@dataclass(frozen=True)
class Exchange:
    """Which trainable parameters and float buffers travel; the rest stays private to each agent.

    Two words stand for common ones, in a file and in Python: "all", everything that learns, and "adapters", only the
    adapters of rc.models.Adapted; what else it trains, such as a head, stays private to each agent.

    Args:
        include: Shell patterns over names of parameters and buffers; one that matches nothing is a ModelError.
        exclude: Patterns taken out of those, e.g. ("head.*",) for a private head.
        buffers: "average" exchanges float buffers such as BatchNorm's statistics (averaged by weight, untouched by
            server optimizers); "private" leaves each agent its own (FedBN, Li et al., ICLR 2021, with the norm
            layers excluded).
        slices: Whether an agent's tensors may be smaller than the driver's of the same name: they are then its first
            rows, columns, ..., so that nets of several widths are parts of one. Unasked, a head of another size is
            a mistake.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    buffers: str = "average"
    slices: bool = False

    def __post_init__(self) -> None:
        require_one_of("Exchange.buffers", self.buffers, ("average", "private"))
        for name in ("include", "exclude"):
            patterns = getattr(self, name)
            patterns = (patterns,) if isinstance(patterns, str) else patterns  # one pattern, not its letters
            good = isinstance(patterns, list | tuple) and all(isinstance(pattern, str) for pattern in patterns)
            require(good, f"Exchange.{name}", patterns, "must be patterns of names, such as ('head.*',)")
            object.__setattr__(self, name, tuple(patterns))

    @classmethod
    def of(cls, word: str) -> "Exchange":
        """What a word stands for.

        Raises: ConfigError for another word.
        """
        require(word in ("all", "adapters"), "exchange", word, "must be 'all', 'adapters' or an Exchange(...)")
        return cls() if word == "all" else cls(include=(f"*.{ADAPTER}*",), buffers="private")

    def matches(self, name: str) -> bool:
        """Whether a parameter of this name travels."""
        included = any(fnmatchcase(name, pattern) for pattern in self.include)
        return included and not any(fnmatchcase(name, pattern) for pattern in self.exclude)

    def check(self, names: list[str], *, whole: bool = True) -> None:
        """Raise ModelError if nothing is left to exchange, or if a pattern finds nothing in a model that is whole."""
        for pattern in (*self.include, *self.exclude) if whole else ():
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError(
                    f"Exchange: pattern {pattern!r} matches no trainable parameter and no float buffer; "
                    f"there are: {', '.join(names)}"
                )
        if not any(self.matches(name) for name in names):
            raise ModelError(f"Exchange: nothing is left to exchange; there are: {', '.join(names)}")


def _float_buffers(module: nn.Module) -> list[str]:
    """Names of the buffers that can travel: those of floats that are saved with the module."""
    saved = set(module.state_dict())
    return [name for name, tensor in module.named_buffers() if name in saved and tensor.is_floating_point()]


class _Buffer:
    """A buffer of a module, also when the module binds a new tensor to its name in forward."""

    def __init__(self, owner: nn.Module, key: str):
        self._owner = owner
        self._key = key
        self._bound: Tensor = getattr(owner, key)
        self.first = self._bound.clone()

    def read(self) -> Tensor:
        """The tensor that the module holds now."""
        return getattr(self._owner, self._key).detach()

    def write(self, value: Tensor) -> None:
        """Put values back into the tensor that was there in the beginning."""
        if getattr(self._owner, self._key) is not self._bound:
            setattr(self._owner, self._key, self._bound)
        self._bound.copy_(value.view(self._bound.shape))


class FlatModel:
    """A module whose trainable parameters are views into flat buffers; scratch space, never memory.

    Within a dtype the exchanged parameters stand first, in the module's order, then the private ones.

    Args:
        module: Rebound in place; tied weights stay tied.
        exchange: Which parameters and buffers travel.
        device: Where it computes.
        whole: Whether this is the driver's model, which every pattern of the exchange must find something in; an
            agent's may lack some.

    Attributes:
        flats, grads: One buffer per dtype over all trainable parameters, exchanged and private.
        shared, shared_grads: The exchanged head of each of them; `split` cuts a vector [d] the same way.
        spec: What the exchanged vectors hold.
        lossy: Whether loading float32 vectors rounds them.
    Raises: ModelError if nothing is trainable, or the exchange names what is not there.
    """

    def __init__(self, module: nn.Module, exchange: Exchange, device: str = "cpu", *, whole: bool = True):
        self.module = module.to(device)
        self.device = device
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trainable:
            raise ModelError(
                f"{type(module).__name__} has no trainable parameter: requires_grad is False for all of them"
            )
        exchange.check([*trainable, *_float_buffers(self.module)], whole=whole)
        self.flats: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.shared: list[Tensor] = []
        self.shared_grads: list[Tensor] = []
        self._grad_views: list[tuple[nn.Parameter, Tensor]] = []
        self._exchanged: list[nn.Parameter] = []
        self._private: dict[str, Tensor] = {}
        self._learned: dict[str, Tensor] = {}
        entries: list[Entry] = []
        offset = 0
        for dtype in sorted({p.dtype for p in trainable.values()}, key=str):
            group = {name: p for name, p in trainable.items() if p.dtype == dtype}
            shared = [name for name in group if exchange.matches(name)]
            private = [name for name in group if not exchange.matches(name)]
            self._bind([*shared, *private], group, shared_size=sum(group[name].numel() for name in shared))
            for name in shared:
                form = tuple(group[name].shape), _dtype_name(group[name])
                entries.append(Entry(name, *form, offset, _scale(self.module, name)))
                offset = entries[-1].stop
            self._exchanged += [group[name] for name in shared]
            self._private.update({name: group[name].data for name in private})
            self._learned.update({name: group[name].data for name in (*shared, *private)})
        self._first_private = {name: tensor.clone() for name, tensor in self._private.items()}
        self.spec = ParamSpec(tuple(entries), self._bind_buffers(exchange), exchange.slices)
        self.lossy = any(flat.dtype != torch.float32 for flat in self.flats)
        scratch = (*self.flats, *self.grads, *self.module.buffers())
        self._scratch = {tensor.untyped_storage().data_ptr() for tensor in scratch}

    def _bind(self, names: list[str], group: dict[str, nn.Parameter], shared_size: int) -> None:
        flat = torch.cat([group[name].data.reshape(-1) for name in names])
        grad = zeros(len(flat), flat)
        offset = 0
        for name in names:
            parameter = group[name]
            place = slice(offset, offset + parameter.numel())
            parameter.data = flat[place].view(parameter.shape)
            parameter.grad = grad[place].view(parameter.shape)
            self._grad_views.append((parameter, parameter.grad))
            offset = place.stop
        self.flats.append(flat)
        self.grads.append(grad)
        self.shared.append(flat[:shared_size])
        self.shared_grads.append(grad[:shared_size])

    def _bind_buffers(self, exchange: Exchange) -> tuple[Entry, ...]:
        """Sort buffers by what becomes of them: averaged, private to the agent, or put back before every update."""
        persistent = set(self.module.state_dict())
        average = exchange.buffers == "average"
        self._averaged: dict[str, _Buffer] = {}
        self._private_buffers: dict[str, _Buffer] = {}
        self._constant: dict[str, _Buffer] = {}
        entries: list[Entry] = []
        for name, tensor in self.module.named_buffers():
            owner, _, key = name.rpartition(".")
            buffer = _Buffer(self.module.get_submodule(owner), key)
            travels = average and exchange.matches(name)
            if name not in persistent or (travels and not tensor.is_floating_point()):
                self._constant[name] = buffer
            elif travels:
                self._averaged[name] = buffer
                entries.append(
                    Entry(name, tuple(tensor.shape), _dtype_name(tensor), entries[-1].stop if entries else 0)
                )
            else:
                self._private_buffers[name] = buffer
        return tuple(entries)

    def load(self, params: Tensor, buffers: Tensor | None = None) -> None:
        """Copy exchanged vectors in: params [d], buffers [b]; counters return to where they began."""
        for shared, part in zip(self.shared, self.split(params), strict=True):
            shared.copy_(part)
        if buffers is not None:
            for entry, buffer in zip(self.spec.buffers, self._averaged.values(), strict=True):
                buffer.write(buffers[entry.offset : entry.stop])
        for buffer in self._constant.values():
            buffer.write(buffer.first)

    def split(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Views of a vector [d] that lie as `shared` and `shared_grads` do, one a dtype."""
        return vector.split([shared.numel() for shared in self.shared])

    def read(self) -> Tensor:
        """The exchanged parameters as a new float32 vector [d]."""
        return torch.cat([shared.float() for shared in self.shared])

    def moved(self, start: Tensor) -> Tensor:
        """How far the exchanged parameters are from a vector [d], as a new float32 vector [d]."""
        if self.lossy or self.device != "cpu":
            return self.read().sub_(start)
        moved = empty(len(start))
        for shared, before, part in zip(self.shared, self.split(start), self.split(moved), strict=True):
            torch.sub(shared, before, out=part)
        return moved

    def read_buffers(self) -> Tensor:
        """The exchanged float buffers as a new float32 vector [b]."""
        return torch.cat(
            [torch.zeros(0, device=self.device), *(b.read().reshape(-1).float() for b in self._averaged.values())]
        )

    @property
    def private_params(self) -> tuple[str, ...]:
        """Names of the trainable parameters that are not exchanged."""
        return tuple(self._private)

    def private(self) -> dict[str, Tensor]:
        """A copy of what stays with the agent: trainable parameters and buffers that are not exchanged."""
        buffers = {name: buffer.read() for name, buffer in self._private_buffers.items()}
        return {name: tensor.clone() for name, tensor in {**self._private, **buffers}.items()}

    def load_private(self, state: dict[str, Tensor] | None) -> None:
        """Put an agent's private part back; None puts the initial one."""
        for name, tensor in self._private.items():
            tensor.copy_((self._first_private if state is None else state)[name])
        for name, buffer in self._private_buffers.items():
            buffer.write(buffer.first if state is None else state[name])

    def whole(self) -> dict[str, Tensor]:
        """A copy of all that learns, exchanged or not, and of the buffers that are saved with the module, by name."""
        return {name: tensor.clone() for name, tensor in {**self._learned, **self.saved_buffers()}.items()}

    def learned(self) -> dict[str, Tensor]:
        """The parameters that learn, by name: views, not copies."""
        return dict(self._learned)

    def saved_buffers(self) -> dict[str, Tensor]:
        """The buffers that are saved with the module as they are now, by name: not copies."""
        buffers = {**self._averaged, **self._private_buffers}
        return {name: buffer.read() for name, buffer in buffers.items()}

    def load_whole(self, state: Mapping[str, Tensor]) -> None:
        """Copy parameters and buffers in by their names; what is not named stays as it is."""
        for name, tensor in state.items():
            if name in self._learned:
                self._learned[name].copy_(tensor)
            else:
                (self._averaged.get(name) or self._private_buffers[name]).write(tensor)

    def zero_grad(self) -> None:
        """Set all gradients to zero, in place, also where somebody has set one to None."""
        for parameter, view in self._grad_views:
            if parameter.grad is not view:
                parameter.grad = view
        for grad in self.grads:
            grad.zero_()

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a loss by the exchanged parameters as a new float32 vector [d]; `grads` stay as they are."""
        found = torch.autograd.grad(loss, self._exchanged, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.reshape(-1).float() for gradient in found])

    def is_scratch(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory that the next agent overwrites."""
        return tensor.untyped_storage().data_ptr() in self._scratch


def _scale(module: nn.Module, name: str) -> float:
    """What the layer of an adapter's parameter multiplies the adapter by; 1 for other parameters."""
    layer, found, _ = name.partition(".lora_")
    scaling = getattr(module.get_submodule(layer), "scaling", None) if found else None
    return float(scaling.get(ADAPTER, 1.0)) if isinstance(scaling, Mapping) else 1.0


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
