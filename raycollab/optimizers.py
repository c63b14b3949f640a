"""Optimizers of torch.optim by name: made with a clear refusal, and their memory as a tree."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from raycollab.errors import ConfigError
from raycollab.settings import require
from raycollab.tree import map_leaves

BY_SHAPE = ("Adafactor", "Muon")  # these look at the shape of a parameter; all others work element by element
_REFUSED = {
    "LBFGS": "evaluates the loss several times in a step, which a step over one batch cannot",
    "SparseAdam": "wants sparse gradients, which vectors that are exchanged do not have",
}


def known_names() -> list[str]:
    """The optimizers of torch.optim that can take steps here."""
    kinds = {each for each, kind in vars(torch.optim).items() if isinstance(kind, type)}
    return sorted(kinds - {"Optimizer", *_REFUSED})


def check_name(name: str, setting: str) -> None:
    """Raise ConfigError unless torch.optim has an optimizer of this name that can take steps here."""
    require(name not in _REFUSED, setting, name, f"{_REFUSED.get(name)}; take another, such as 'AdamW'")
    known = known_names()
    require(name in known, setting, name, f"must be one of {', '.join(known)}")


def make_optimizer(rule: str, name: str, args: Mapping[str, Any], tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Make `torch.optim.NAME(tensors, **args)`.

    Raises: ConfigError that names the rule, for arguments that the optimizer does not take.
    """
    try:
        return getattr(torch.optim, name)(tensors, **args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{rule}(name={name!r}, args={dict(args)!r}): {error}") from error


def memory_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimizer remembers of each of its tensors, in their order; empty for one without memory."""
    memory = optimizer.state_dict()["state"]
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    return [dict(memory.get(index, {})) for index in range(count)] if memory else []


def remember(optimizer: torch.optim.Optimizer, memory: list[dict[str, Any]]) -> None:
    """Give an optimizer a copy of what `memory_of` gave."""
    own = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, memory)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(enumerate(own)), "param_groups": groups})  # keeps what it is given
