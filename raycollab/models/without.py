"""A net without some of its layers: an earlier form of one that grows deeper."""

from dataclasses import dataclass

from torch import nn

from raycollab.errors import ModelError
from raycollab.models.wrapper import Wrapper


@dataclass(frozen=True)
class Without(Wrapper):
    """Another net in which some layers only hand on what they are given; what is left keeps its names.

    Example: `Without(MLP(784, 10, (200, 200)), ("3",))` is the same net before its second hidden layer is there.

    Args:
        net: The net itself.
        layers: Names of the layers, as `named_modules` gives them.
    Raises: ModelError where it is built, for a name that no layer has.
    """

    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", tuple(self.layers))

    def changed(self, module: nn.Module) -> nn.Module:
        """The net with nn.Identity in their places."""
        there = [name for name, _ in module.named_modules() if name]
        for name in self.layers:
            if name not in there:
                raise ModelError(f"Without.layers={self.layers}: no layer {name!r}; there are: {', '.join(there)}")
            owner, _, key = name.rpartition(".")
            setattr(module.get_submodule(owner), key, nn.Identity())
        return module
