"""Any optimizer of torch.optim as an agent's local rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from raycollab.config import require
from raycollab.errors import ConfigError
from raycollab.learners.base import Learner
from raycollab.learners.local import clip_gradients, local_update
from raycollab.params import FlatModel
from raycollab.task import Problem
from raycollab.tree import map_leaves
from raycollab.types import Round, State, Update

_NOT_ELEMENTWISE = ("Muon", "LBFGS", "Adafactor", "SparseAdam")


@dataclass(frozen=True)
class Optimizer(Learner):
    """Local steps with `torch.optim.NAME(params, **args)`, on the flat vector: one tensor per dtype.

    Args:
        name: Class in torch.optim, such as "AdamW"; those that look at a parameter's shape are refused.
        args: Its arguments, such as {"lr": 1e-3}.
        epochs: Passes over the shard in a round.
        steps: Steps in a round instead of passes, if not None.
        batch_size: Examples of a step.
        max_grad_norm: Clip gradients to this L2 norm, if not None.
        keep_state: Carry the optimizer's state over rounds; it is private to the agent.
    Raises: ConfigError for an unknown optimizer or arguments that it does not take.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    max_grad_norm: float | None = None
    keep_state: bool = False

    def __post_init__(self) -> None:
        known = sorted(
            n for n, v in vars(torch.optim).items() if isinstance(v, type) and n not in (*_NOT_ELEMENTWISE, "Optimizer")
        )
        require(self.name in known, "Optimizer.name", self.name, f"must be one of {', '.join(known)}")
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"Optimizer.{name}", getattr(self, name), "must be >= 1")
        require(
            self.steps is None or self.steps >= 1,
            "Optimizer.steps",
            self.steps,
            "must be >= 1, or null for whole epochs",
        )
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            "Optimizer.max_grad_norm",
            self.max_grad_norm,
            "must be > 0",
        )
        self._make([torch.zeros(1, requires_grad=True)])

    def _make(self, tensors: list[Tensor]) -> torch.optim.Optimizer:
        try:
            return getattr(torch.optim, self.name)(tensors, **self.args)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"Optimizer(name={self.name!r}, args={dict(self.args)!r}): {error}") from error

    def update(self, problem: Problem, params: Tensor, state: State, round: Round) -> tuple[Update, State]:
        """Take this round's steps."""
        model = problem.model
        for flat, grad in zip(model.flats, model.grads, strict=True):
            flat.grad = grad
        optimizer = self._make(model.flats)
        if state:
            own = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, state["state"])
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": dict(enumerate(own)), "param_groups": groups})  # keeps what it is given

        def step(model: FlatModel) -> None:
            if self.max_grad_norm is not None:
                clip_gradients(model, self.max_grad_norm)
            optimizer.step()

        update = local_update(
            problem, params, round, step=step, batch_size=self.batch_size, epochs=self.epochs, steps=self.steps
        )
        kept = optimizer.state_dict()["state"] if self.keep_state else {}  # empty for a rule without memory
        return update, {"state": [dict(kept[index]) for index in range(len(model.flats))]} if kept else {}
