"""A net that keeps less for the backward pass, and computes it again there."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from raycollab.errors import ModelError
from raycollab.models.wrapper import Wrapper


@dataclass(frozen=True)
class Checkpointed(Wrapper):
    """Another model that trains in less memory: of each block only the inputs are kept, the rest is computed twice.

    Names of parameters, and the numbers that come out, stay the net's own.

    Args:
        net: The net itself.
        blocks: Shell patterns over names of submodules, such as ("transformer.h.*",) for those of GPT; empty takes the
            elements of the outermost nn.ModuleLists, which are the blocks of transformers' models.
    Raises: ModelError where it is built: no such blocks, or one with a BatchNorm that learns, which would count every
        batch twice.
    """

    blocks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "blocks", tuple(self.blocks))

    def changed(self, module: nn.Module) -> nn.Module:
        """Wrap the forward pass of each block."""
        for name, block in self._chosen(module).items():
            if any(isinstance(each, _BatchNorm) and _learns(each) for each in block.modules()):
                raise ModelError(
                    f"Checkpointed: block {name!r} holds a BatchNorm that learns, which would count every batch twice; "
                    f"leave the block out, or freeze its norms"
                )
            block.forward = _twice(block)  # type: ignore[method-assign]
        return module

    def _chosen(self, module: nn.Module) -> dict[str, nn.Module]:
        names = dict(module.named_modules())
        for pattern in self.blocks:
            if not any(fnmatchcase(name, pattern) for name in names if name):
                raise ModelError(f"Checkpointed.blocks: {pattern!r} matches no submodule; there are: {_listed(names)}")
        if self.blocks:
            return _outermost({n: m for n, m in names.items() if n and any(fnmatchcase(n, p) for p in self.blocks)})
        lists = _outermost({name: each for name, each in names.items() if isinstance(each, nn.ModuleList)})
        if not lists:
            raise ModelError(
                f"Checkpointed: {type(module).__name__} has no nn.ModuleList of blocks; name its blocks in blocks=; "
                f"there are: {_listed(names)}"
            )
        return {f"{name}.{key}": block for name, each in lists.items() for key, block in each.named_children()}


def _outermost(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Those that are not inside another one of them."""
    return {
        name: each for name, each in modules.items()
        if not any(name != other and name.startswith(f"{other}.") for other in modules)
    }  # fmt: skip


def _learns(norm: nn.Module) -> bool:
    own = list(norm.parameters())
    return not own or any(parameter.requires_grad for parameter in own)


def _listed(names: dict[str, nn.Module]) -> str:
    top = [name for name in names if name and name.count(".") < 2]
    return ", ".join(top[:30]) + (f" and {len(top) - 30} more" if len(top) > 30 else "")


def _twice(block: nn.Module) -> Any:
    """Its forward pass, of which nothing inside is kept while it trains."""
    forward = block.forward

    def run(*inputs: Any, **named: Any) -> Any:
        if block.training and torch.is_grad_enabled():
            return checkpoint(forward, *inputs, use_reentrant=False, **named)
        return forward(*inputs, **named)

    return run
