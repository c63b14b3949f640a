"""Adaptive server optimizers: each element's step is scaled by how large its deltas have been."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.settings import require
from raycollab.transforms.base import Transform
from raycollab.types import State


@dataclass(frozen=True, kw_only=True)
class Adaptive(Transform):
    """The step lr * m / (sqrt(v) + tau) with m = beta1 * m + (1 - beta1) * delta; v starts at tau^2, m at zero.

    Args:
        lr: Server learning rate, > 0.
        beta1: Share of m that is kept, in [0, 1).
        tau: Degree of adaptivity, > 0: the smaller, the more alike are the steps of all elements.
    Source: Reddi et al., ICLR 2021, arXiv 2003.00295, Algorithm 2; without correction of the bias, as there.
    """

    lr: float = 0.1
    beta1: float = 0.9
    tau: float = 1e-3

    def __post_init__(self) -> None:
        kind = type(self).__name__
        require(0 < self.lr < math.inf, f"{kind}.lr", self.lr, "must be > 0 and finite")
        require(0 < self.tau < math.inf, f"{kind}.tau", self.tau, "must be > 0 and finite")
        for name in ("beta1", "beta2"):
            beta = getattr(self, name, 0.0)
            require(0 <= beta < 1, f"{kind}.{name}", beta, "must be in [0, 1)")

    @abstractmethod
    def second(self, before: Tensor, squares: Tensor) -> Tensor:
        """The next v [d] of the one before and the squares of the deltas."""

    def init(self, params: Tensor) -> State:
        """A first moment of zero, a second of tau^2."""
        return {"first": torch.zeros_like(params), "second": torch.full_like(params, self.tau**2)}

    def update(self, delta: Tensor, state: State, params: Tensor, *, seed: int) -> tuple[Tensor, State]:
        """Move both moments, then take one step."""
        del params, seed
        first = self.beta1 * state["first"] + (1 - self.beta1) * delta
        second = self.second(state["second"], delta.square())
        return self.lr * first / (second.sqrt() + self.tau), {"first": first, "second": second}


@dataclass(frozen=True, kw_only=True)
class FedAdagrad(Adaptive):
    """Adaptive server steps by the sum of all squares so far; lr, beta1 and tau are Adaptive's."""

    beta1: float = 0.0

    formula = "v += delta^2;  step = lr * m / (sqrt(v) + tau)"

    def second(self, before: Tensor, squares: Tensor) -> Tensor:
        """The sum."""
        return before + squares


@dataclass(frozen=True, kw_only=True)
class FedAdam(Adaptive):
    """Adaptive server steps by a running mean of squares; lr, beta1 and tau are Adaptive's.

    Args:
        beta2: Share of the mean that is kept, in [0, 1).
    """

    beta2: float = 0.99

    formula = "v = beta2 * v + (1 - beta2) * delta^2;  step = lr * m / (sqrt(v) + tau)"

    def second(self, before: Tensor, squares: Tensor) -> Tensor:
        """The running mean."""
        return self.beta2 * before + (1 - self.beta2) * squares


@dataclass(frozen=True, kw_only=True)
class FedYogi(Adaptive):
    """FedAdam whose v goes up and down by at most (1 - beta2) * delta^2; lr, beta1 and tau are Adaptive's.

    Args:
        beta2: 1 less the rate at which v moves, in [0, 1).
    """

    beta2: float = 0.99

    formula = "v -= (1 - beta2) * delta^2 * sign(v - delta^2);  step = lr * m / (sqrt(v) + tau)"

    def second(self, before: Tensor, squares: Tensor) -> Tensor:
        """One step towards the squares."""
        return before - (1 - self.beta2) * squares * torch.sign(before - squares)
