"""Any optimizer of torch.optim as an agent's local rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from raycollab.errors import ModelError
from raycollab.learners.local import LocalLearner, Stepper
from raycollab.optimizers import BY_SHAPE, check_name, make_optimizer, memory_of, remember
from raycollab.params import FlatModel
from raycollab.types import State


@dataclass(frozen=True)
class Optimizer(LocalLearner):
    """Local steps with `torch.optim.NAME(params, **args)`.

    Optimizers that work element by element step on the flat vectors, one tensor per dtype; Adafactor and Muon, which
    look at a parameter's shape, on the parameters. epochs, steps, batch_size, micro_batch_size, max_grad_norm, schedule
    and autocast are LocalLearner's.

    Args:
        name: Class in torch.optim, such as "AdamW". Muon needs a model whose trainable parameters are all matrices.
        args: Its arguments, such as {"lr": 1e-3}.
        keep_state: Carry the optimizer's state over rounds; it is private to the agent.
    Raises: ConfigError for an unknown optimizer or arguments that it does not take; ModelError for Muon and a parameter
        that is no matrix.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    keep_state: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.name, "Optimizer.name")
        self._make([torch.zeros(1, 1, requires_grad=True)])

    def _make(self, tensors: list[Tensor]) -> torch.optim.Optimizer:
        return make_optimizer("Optimizer", self.name, self.args, tensors)

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the optimizer's state is kept, or a subclass may keep something."""
        return self.keep_state or type(self) is not Optimizer

    def begin(self, model: FlatModel, state: State) -> Stepper:
        """Make the optimizer, with the state that was kept."""
        optimizer = self._make(self._tensors(model))
        if state:
            remember(optimizer, state["state"])

        def kept() -> State:
            memory = memory_of(optimizer) if self.keep_state else []
            return {"state": memory} if memory else {}

        rates = [group["lr"] for group in optimizer.param_groups]

        def step(model: FlatModel, factor: float) -> None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()

        return Stepper(step, kept)

    def _tensors(self, model: FlatModel) -> list[Tensor]:
        """What the optimizer changes: the flat vectors, or the parameters, which are views into them."""
        if self.name not in BY_SHAPE:
            for flat, grad in zip(model.flats, model.grads, strict=True):
                flat.grad = grad
            return model.flats
        parameters = {name: p for name, p in model.module.named_parameters() if p.requires_grad}
        for name, parameter in parameters.items() if self.name == "Muon" else ():
            if parameter.ndim != 2:
                raise ModelError(
                    f"Optimizer(name='Muon'): parameter {name!r} has shape {list(parameter.shape)}, and Muon takes "
                    f"only matrices: freeze it, build the model without it, or choose another optimizer"
                )
        return list(parameters.values())
