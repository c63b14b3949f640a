"""A net beside what all parties together say of a public set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.models.base import Model
from raycollab.settings import require

CONSENSUS = "consensus"


@dataclass(frozen=True)
class WithConsensus(Model):
    """Puts the logits of a public set beside a net, as a buffer "consensus", so that they can travel instead of it.

    With `Exchange(include=("consensus",))` nothing of the net leaves its agent: nets may differ from agent to agent. A
    net that shall travel as well, the student's, gets another name: `Exchange(include=("consensus", "student.*"))`.

    Args:
        net: The net itself; its parameters are named NAME.*.
        num_examples: Examples of the public set that are spoken about: its first ones.
        num_outputs: Logits of each example.
        name: What its parameters' names begin with.
    Shapes: those of the net; consensus [num_examples, num_outputs].
    """

    net: Model
    num_examples: int
    num_outputs: int
    name: str = "net"

    def __post_init__(self) -> None:
        for name in ("num_examples", "num_outputs"):
            require(getattr(self, name) >= 1, f"WithConsensus.{name}", getattr(self, name), "must be >= 1")
        good = self.name.isidentifier() and not hasattr(nn.Module, self.name) and self.name != CONSENSUS
        require(good, "WithConsensus.name", self.name, "must be a name that modules do not use, such as 'student'")

    def build(self) -> nn.Module:
        """Make the module."""
        return _WithConsensus(self.net.build(), torch.zeros(self.num_examples, self.num_outputs), self.name)


class _WithConsensus(nn.Module):
    def __init__(self, net: nn.Module, consensus: Tensor, name: str):
        super().__init__()
        self._name = name
        self.add_module(name, net)
        self.register_buffer(CONSENSUS, consensus)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the net says; the consensus is only kept."""
        return self.get_submodule(self._name)(*inputs)
