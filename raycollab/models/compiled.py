"""A net whose forward and backward pass are compiled."""

from dataclasses import dataclass

from torch import nn

from raycollab.models.wrapper import Wrapper
from raycollab.settings import require

_MODES = ("default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True)
class Compiled(Wrapper):
    """Another model, compiled by torch.compile when it first runs; names of parameters stay the net's own.

    Each host compiles for itself, half a minute and more for a large net, and needs a C++ compiler on a CPU. The last
    bits of what comes out may differ from those of the net itself, and dropout draws other features.

    Args:
        net: The net itself.
        mode: "default", "reduce-overhead" or "max-autotune", as torch.compile has them.
        backend: What compiles: "inductor", or "aot_eager" and "eager", which only trace, to look for the cause of a
            failure.
    """

    mode: str = "default"
    backend: str = "inductor"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.mode in _MODES, "Compiled.mode", self.mode, f"must be one of {_MODES}")
        require(bool(self.backend), "Compiled.backend", self.backend, "must name a backend of torch.compile")

    def changed(self, module: nn.Module) -> nn.Module:
        """Compile it in place."""
        module.compile(backend=self.backend, mode=self.mode if self.backend == "inductor" else None)
        return module
