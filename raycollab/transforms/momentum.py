"""Momentum on the driver."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True)
class Momentum(Transform):
    """Server momentum: velocity = beta * velocity + delta; the step is lr * velocity.

    Args:
        beta: Share of the velocity that is kept, in [0, 1).
        lr: Server learning rate, > 0.
        nesterov: Look ahead: the step is lr * (delta + beta * velocity).
    Source: FedAvgM, Hsu et al., 2019, arXiv 1909.06335, section 4.3; with nesterov the outer step of DiLoCo,
        Douillard et al., 2023, arXiv 2311.08105.
    """

    beta: float = 0.9
    lr: float = 1.0
    nesterov: bool = False

    formula = "v = beta v + delta;  step = lr v, with nesterov lr (delta + beta v)"

    def __post_init__(self) -> None:
        require(0 <= self.beta < 1, "Momentum.beta", self.beta, "must be in [0, 1)")
        require(0 < self.lr < math.inf, "Momentum.lr", self.lr, "must be > 0 and finite")

    def init(self, params: Tensor) -> State:
        """A velocity of zero."""
        return {"velocity": torch.zeros_like(params)}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Take one step."""
        del params, seed
        velocity = state["velocity"] * self.beta + delta
        step = delta + self.beta * velocity if self.nesterov else velocity
        return step * self.lr, {"velocity": velocity}
