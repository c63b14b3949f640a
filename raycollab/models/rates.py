"""A net beside learning rates that are learned."""

from dataclasses import dataclass

import torch
from torch import nn

from raycollab.models.wrapper import Wrapper
from raycollab.settings import require, require_one_of

RATE = "rate/"


@dataclass(frozen=True)
class WithRates(Wrapper):
    """Puts a learning rate for every parameter of a net beside it, as parameters of the same names behind "rate/".

    The net computes what it did. With `Exchange(exclude=("rate/*",))` each agent keeps rates of its own.

    Args:
        net: The net itself; its names stay as they are.
        initial: Of every rate.
        per: "element", or "tensor" for one rate a tensor, whatever its size.
        high: Rates begin anywhere between `initial` and this, if not None.
    Source: Li et al., Meta-SGD, 2017, arXiv 1707.09835, section 3.2; per tensor Antoniou et al., ICLR 2019, arXiv
        1810.09502, section 4.
    """

    initial: float = 0.01
    per: str = "element"
    high: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("WithRates.per", self.per, ("element", "tensor"))
        above = self.high is None or self.high > self.initial
        require(above, "WithRates.high", self.high, f"must be above initial={self.initial}, or null")

    def changed(self, module: nn.Module) -> nn.Module:
        """The net with its rates."""
        for name, parameter in list(module.named_parameters()):
            if parameter.requires_grad:
                rate = torch.full(parameter.shape if self.per == "element" else (), self.initial)
                if self.high is not None:
                    rate.uniform_(self.initial, self.high)
                module.register_parameter(rate_name(name), nn.Parameter(rate.to(parameter.dtype)))
        return module


def rate_name(name: str) -> str:
    """What the rate of a parameter is called: modules allow no dot in a name."""
    return f"{RATE}{name.replace('.', '/')}"
