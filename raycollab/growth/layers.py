"""The layers of a net that stand in one row, and which units each is given by the one before it."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

# Layers that treat every unit, or every channel, by itself.
_UNIT_BY_UNIT = (
    nn.Identity, nn.Flatten, _DropoutNd, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Softplus, _MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A linear layer or a convolution, and the BatchNorms of its units.

    Args:
        name: As `named_modules` gives it.
        module: The layer.
        norms: Names of the BatchNorms behind it.
    """

    name: str
    module: nn.Linear | _ConvNd
    norms: tuple[str, ...] = ()

    @property
    def given(self) -> int:
        """Units or channels that it is given."""
        return self.module.weight.shape[1]

    @property
    def units(self) -> int:
        """Units or channels that it makes."""
        return self.module.weight.shape[0]


def row_of_layers(module: nn.Module) -> tuple[Layer, ...]:
    """The layers of a net in which each is given what the one before it makes; none if it is no such net."""
    row: list[Layer] = []
    for name, leaf in _leaves(module, ""):
        if isinstance(leaf, nn.Linear) or (_is_convolution(leaf)):
            row.append(Layer(name, leaf))  # type: ignore[arg-type]
        elif isinstance(leaf, _BatchNorm) and row:
            row[-1] = Layer(row[-1].name, row[-1].module, (*row[-1].norms, name))
        elif not isinstance(leaf, _UNIT_BY_UNIT):
            return ()
    return tuple(row)


def head_of(module: nn.Module) -> str:
    """Name of the last nn.Linear; empty if there is none."""
    return next((name for name, each in reversed(list(module.named_modules())) if isinstance(each, nn.Linear)), "")


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for key, child in module._modules.items():  # with one that stands there twice
        yield from _leaves(child, f"{name}.{key}" if name else key)


def _is_convolution(leaf: nn.Module) -> bool:
    return isinstance(leaf, _ConvNd) and not isinstance(leaf, _ConvTransposeNd) and leaf.groups == 1
