"""A net of the first channels of another one."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from raycollab.models.wrapper import Wrapper
from raycollab.settings import require


@dataclass(frozen=True)
class Narrowed(Wrapper):
    """Another model with a share of its hidden channels: each tensor is the first rows, columns, ... of its own.

    With `Exchange(slices=True)` agents with nets of several widths learn one model.

    Args:
        net: The whole net.
        width: Share of the outputs of its hidden layers, in (0, 1]; rounded up, so that no layer is ever empty.
        scaled: Whether the outputs of layers that are narrower are divided by the width (the Scaler), so that they are
            about as large as the whole net's, of which the same weights are a part. In the paper a norm stands behind
            each of them; without one, gradients of small nets grow with the depth. Here that is so in use as well: an
            agent's small net is scored as it has learned.
    Raises: ModelError for a net that cannot be narrowed, with those that can.
    Source: Diao et al., HeteroFL, ICLR 2021, arXiv 2010.01264, section 3.
    """

    width: float = 1.0
    scaled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.width <= 1, "Narrowed.width", self.width, "must be in (0, 1]: a share of the hidden channels")
        self.net.narrowed(self.width)

    def build(self) -> nn.Module:
        """Make the narrower net."""
        return self.changed(self.net.narrowed(self.width).build())

    def changed(self, module: nn.Module) -> nn.Module:
        """Scale the outputs of its narrower layers."""
        if not self.scaled or self.width == 1:
            return module
        with torch.device("meta"):
            whole = dict(self.net.build().named_modules())
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) < len(_weight(whole[name])):
                layer.register_forward_hook(partial(_divided, self.width))
        return module

    def narrowed(self, width: float) -> Self:
        """A part of this part."""
        return replace(self, width=self.width * width)


def _weight(layer: nn.Module) -> Tensor:
    weight: Tensor = layer.get_parameter("weight")
    return weight


def _divided(width: float, layer: nn.Module, given: Any, made: Tensor) -> Tensor:
    """What a layer has made, in the size that it has in the whole net."""
    del layer, given
    return made / width
