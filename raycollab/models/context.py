"""A net that is given a context beside its inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.models.wrapper import Wrapper
from raycollab.settings import require

CONTEXT = "context"


@dataclass(frozen=True)
class WithContext(Wrapper):
    """Gives a net a few learned numbers beside every example: what the task at hand is like.

    Args:
        net: Takes [b, num_features + size]; its parameters are named net.*.
        size: Numbers of the context, a parameter "context" that begins at zero.
    Shapes: inputs [b, num_features].
    Source: Zintgraf et al., CAVIA, ICML 2019, arXiv 1810.03642, section 3.1.
    """

    size: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size >= 1, "WithContext.size", self.size, "must be >= 1")

    def changed(self, module: nn.Module) -> nn.Module:
        """The net, given the context."""
        return _WithContext(module, self.size)


class _WithContext(nn.Module):
    def __init__(self, net: nn.Module, size: int):
        super().__init__()
        self.net = net
        self.context = nn.Parameter(torch.zeros(size))

    def forward(self, inputs: Tensor) -> Tensor:
        """What the net makes of inputs and context."""
        made: Tensor = self.net(torch.cat([inputs.flatten(1), self.context.expand(len(inputs), -1)], 1))
        return made
