"""Any optimizer of torch.optim as the driver's step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from raycollab.optimizers import BY_SHAPE, check_name, make_optimizer, memory_of, remember
from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class ServerOptimizer(Transform):
    """The step of `torch.optim.NAME([w], **args)` against the gradient -delta, on the flat vector.

    "SGD" with momentum is FedAvgM; with lr 0.7, momentum 0.9 and nesterov it is the outer step of DiLoCo. FedAdam,
    FedYogi and FedAdagrad as published stand in classes of these names: they correct no bias.

    Args:
        name: Class in torch.optim that works element by element, such as "SGD".
        args: Its arguments, such as {"lr": 1.0, "momentum": 0.9}.
    Raises: ConfigError for an unknown optimizer, one that looks at shapes, or arguments that it does not take.
    Source: Reddi et al., ICLR 2021, arXiv 2003.00295, Algorithm 1 (ServerOpt).
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)

    formula = "step = optimizer(w, gradient = -delta)"

    def __post_init__(self) -> None:
        check_name(self.name, "ServerOptimizer.name")
        require(
            self.name not in BY_SHAPE,
            "ServerOptimizer.name",
            self.name,
            "looks at the shapes of parameters, which the flat vector lacks; take another, such as 'SGD' or 'AdamW'",
        )
        self._make(torch.zeros(1))

    def _make(self, vector: Tensor) -> torch.optim.Optimizer:
        return make_optimizer("ServerOptimizer", self.name, self.args, [vector])

    def init(self, params: Tensor) -> State:
        """No memory yet: the optimizer makes it at its first step."""
        del params
        return {"memory": []}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Take one step from a copy of the parameters."""
        del seed
        vector = params.clone()
        vector.grad = -delta
        optimizer = self._make(vector)
        remember(optimizer, state["memory"])
        optimizer.step()
        return vector - params, {"memory": memory_of(optimizer)}
