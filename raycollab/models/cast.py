"""A net whose weights are of another type."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raycollab.models.wrapper import Wrapper
from raycollab.settings import require

_DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Cast(Wrapper):
    """Another model that holds its weights, and computes, in another type; bfloat16 takes half the memory.

    Sums of updates and the wire stay float32. A step smaller than a 256th of a bfloat16 weight is lost: for training in
    full prefer `autocast` of a learner; under adapters, which stay float32, a base in bfloat16 is as good.

    Args:
        net: The net itself.
        dtype: "bfloat16", "float16" or "float32".
    Shapes: those of the net; inputs of floats are cast, outputs are of this type.
    """

    dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dtype in _DTYPES, "Cast.dtype", self.dtype, f"must be one of {_DTYPES}")

    def changed(self, module: nn.Module) -> nn.Module:
        """Cast weights now, and inputs whenever it is called."""
        dtype = getattr(torch, self.dtype)

        def cast(each: Any) -> Any:
            return each.to(dtype) if isinstance(each, Tensor) and each.is_floating_point() else each

        def inputs(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
            return tuple(map(cast, given)), {name: cast(each) for name, each in named.items()}

        module.to(dtype).register_forward_pre_hook(inputs, with_kwargs=True)
        return module
