"""A net with fewer outputs than the task has classes."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from raycollab.errors import ModelError
from raycollab.models.wrapper import Wrapper
from raycollab.settings import require


@dataclass(frozen=True)
class Padded(Wrapper):
    """Another net whose missing outputs are minus infinity: classes that it never predicts, and has no loss for.

    Names stay the net's own.

    Args:
        net: Inputs -> [b, fewer].
        num_outputs: Outputs with those that are missing.
    """

    num_outputs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_outputs >= 1, "Padded.num_outputs", self.num_outputs, "must be >= 1")

    def changed(self, module: nn.Module) -> nn.Module:
        """The net, whose outputs are filled up whenever it is called."""
        module.register_forward_hook(partial(_filled_up, self.num_outputs))
        return module


def _filled_up(num_outputs: int, module: nn.Module, given: Any, outputs: Any) -> Tensor:
    del given
    if not isinstance(outputs, Tensor):
        raise ModelError(
            f"Padded: {type(module).__name__} returns a {type(outputs).__name__}; a head that grows must return logits"
        )
    return functional.pad(outputs, (0, num_outputs - outputs.shape[-1]), value=-math.inf)
