"""A net that is built as another recipe says, and then changed."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from raycollab.models.base import Model
from raycollab.settings import require


@dataclass(frozen=True)
class Wrapper(Model):
    """A recipe around another one: what a task asks of a net, such as num_outputs, it answers as the net does.

    Args:
        net: The net itself.
    """

    net: Model

    def __post_init__(self) -> None:
        accepted = "must be a recipe such as rc.models.MLP(64, 10)"
        require(isinstance(self.net, Model), f"{type(self).__name__}.net", self.net, accepted)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "net":  # what pickle looks for before there is a net
            raise AttributeError(name)
        return getattr(self.net, name)

    def build(self) -> nn.Module:
        """Make the net, and change it."""
        return self.changed(self.net.build())

    @abstractmethod
    def changed(self, module: nn.Module) -> nn.Module:
        """The net in its new form; it may be changed in place."""

    def narrowed(self, width: float) -> Self:
        """Around the narrower net."""
        return replace(self, net=self.net.narrowed(width))
