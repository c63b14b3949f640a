"""Any optimizer of torch.optim as an agent's local rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from raycollab.config import require
from raycollab.errors import ConfigError
from raycollab.learners.local import LocalLearner, Stepper
from raycollab.params import FlatModel
from raycollab.tree import map_leaves
from raycollab.types import State

_NOT_ELEMENTWISE = ("Muon", "LBFGS", "Adafactor", "SparseAdam")


@dataclass(frozen=True)
class Optimizer(LocalLearner):
    """Local steps with `torch.optim.NAME(params, **args)`, on the flat vector: one tensor per dtype.

    epochs, steps, batch_size, micro_batch_size, max_grad_norm, schedule and autocast are LocalLearner's.

    Args:
        name: Class in torch.optim, such as "AdamW"; those that look at a parameter's shape are refused.
        args: Its arguments, such as {"lr": 1e-3}.
        keep_state: Carry the optimizer's state over rounds; it is private to the agent.
    Raises: ConfigError for an unknown optimizer or arguments that it does not take.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    keep_state: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        known = sorted(
            n for n, v in vars(torch.optim).items() if isinstance(v, type) and n not in (*_NOT_ELEMENTWISE, "Optimizer")
        )
        require(self.name in known, "Optimizer.name", self.name, f"must be one of {', '.join(known)}")
        self._make([torch.zeros(1, requires_grad=True)])

    def _make(self, tensors: list[Tensor]) -> torch.optim.Optimizer:
        try:
            return getattr(torch.optim, self.name)(tensors, **self.args)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"Optimizer(name={self.name!r}, args={dict(self.args)!r}): {error}") from error

    def begin(self, model: FlatModel, state: State) -> Stepper:
        """Make the optimizer, with the state that was kept."""
        for flat, grad in zip(model.flats, model.grads, strict=True):
            flat.grad = grad
        optimizer = self._make(model.flats)
        if state:
            own = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, state["state"])
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": dict(enumerate(own)), "param_groups": groups})  # keeps what it is given

        def kept() -> State:
            memory = optimizer.state_dict()["state"] if self.keep_state else {}  # empty for a rule without memory
            return {"state": [dict(memory[index]) for index in range(len(model.flats))]} if memory else {}

        rates = [group["lr"] for group in optimizer.param_groups]

        def step(model: FlatModel, factor: float) -> None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()

        return Stepper(step, kept)
