"""A narrower net that computes with the first rows and columns of a wider one's tensors, where they are."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from torch.func import functional_call

from raycollab.models.base import Model
from raycollab.models.narrowed import Narrowed
from raycollab.models.wrapper import Wrapper
from raycollab.spec import leading

_PARTS = "_narrower"  # where a module keeps the forms of its slices


class Sliced(nn.Module):
    """A part of a module, which it does not copy: gradients arrive in the first rows and columns of its parameters.

    Args:
        whole: Has the tensors; it is not registered as a part of this one.
        part: Says the form; its own tensors are never read.
    """

    def __init__(self, whole: nn.Module, part: nn.Module):
        super().__init__()
        self.part = part
        self._whole = (whole,)
        self.train(whole.training)

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the narrower net makes."""
        (whole,) = self._whole
        form = {**dict(self.part.named_parameters()), **dict(self.part.named_buffers())}
        tensors = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
        slices = {name: leading(tensors[name], own.shape) for name, own in form.items()}
        return functional_call(self.part, slices, given, named)

    def __getattr__(self, name: str) -> Any:
        """What the narrower net has beside its outputs."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("part"), name)


def sliced(whole: nn.Module, net: Model, width: float) -> Sliced:
    """The slice of a module that has a share of the channels of the whole net.

    Args:
        whole: As `net` builds it; it keeps the forms of slices that were asked for.
        net: A whole net, or one narrowed to this width at least.
        width: Share of the whole net's channels.
    """
    known = cast(dict[tuple[Model, float], nn.Module], vars(whole).setdefault(_PARTS, {}))
    if (net, width) not in known:
        with torch.device("meta"):
            known[net, width] = narrower(net, width).build()
    return Sliced(whole, known[net, width])


def narrower(net: Model, width: float) -> Model:
    """A net's recipe with another share of the whole net's channels."""
    if isinstance(net, Narrowed):
        return Narrowed(net.net, width, net.scaled)
    if isinstance(net, Wrapper) and width_of(net) < 1:
        return replace(net, net=narrower(net.net, width))
    return Narrowed(net, width, scaled=False)


def unscaled(net: Model) -> Model:
    """A net's recipe without the factor on its narrower layers' outputs."""
    if isinstance(net, Narrowed):
        return replace(net, scaled=False)
    return replace(net, net=unscaled(net.net)) if isinstance(net, Wrapper) else net


def width_of(net: Model) -> float:
    """The share of the whole net's channels that a recipe has."""
    if isinstance(net, Narrowed):
        return net.width
    return width_of(net.net) if isinstance(net, Wrapper) else 1.0
