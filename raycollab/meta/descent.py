"""Adaptation by a few steps of gradient descent."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import Tensor

from raycollab.errors import ModelError
from raycollab.meta.base import MetaLearner
from raycollab.meta.functional import Functional, Parameters
from raycollab.settings import require
from raycollab.types import Batch


@dataclass(frozen=True, kw_only=True)
class InnerSteps(MetaLearner):
    """Adapts by steps of gradient descent over the whole support.

    Args:
        steps: Inner steps, >= 0; with none, what is learned is judged as it is.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 0, f"{type(self).__name__}.steps", self.steps, "must be >= 0")

    @property
    def inner(self) -> tuple[str, ...]:
        """Patterns of the parameters that inner steps change."""
        return ("*",)

    @abstractmethod
    def rates(self, params: Parameters, names: Sequence[str]) -> dict[str, float | Tensor]:
        """The inner rate of each of these parameters."""

    def adapt(
        self, model: Functional, params: Parameters, support: Batch, *, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Take the inner steps; parameters whose rate is the number 0 stay as they are, without a gradient."""
        names = [name for name in params if any(fnmatchcase(name, pattern) for pattern in self.inner)]
        if not names:
            raise ModelError(
                f"{type(self).__name__}: {self.inner} matches no trainable parameter; there are: {', '.join(params)}"
            )
        rates = {name: rate for name, rate in self.rates(params, names).items() if not _is_zero(rate)}
        now = dict(params)
        for _ in range(self.steps if rates else 0):
            moves = _moves(model, now, rates, support, differentiable)
            now |= {name: now[name] + move for name, move in moves.items()}
        return now if differentiable else {name: tensor.detach() for name, tensor in now.items()}


@dataclass(frozen=True, kw_only=True)
class OneRate(InnerSteps):
    """Inner steps at one rate for all, or at fixed multiples of it.

    Args:
        lr: Rate of the inner steps, > 0.
        factors: Times the rate, by shell patterns over names of parameters, as in GroupRates: the first that matches
            decides, of other names the factor is 1, and 0 leaves them as they are.
    """

    lr: float
    factors: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        good = 0 < self.lr < math.inf
        require(good, f"{type(self).__name__}.lr", self.lr, "must be > 0 and finite")
        accepted = "must be factors by patterns over names of parameters, such as {'3.*': 0.1}"
        require(isinstance(self.factors, Mapping), f"{type(self).__name__}.factors", self.factors, accepted)
        for pattern, factor in self.factors.items():
            good = isinstance(factor, int | float) and 0 <= factor < math.inf
            require(good, f"{type(self).__name__}.factors[{pattern!r}]", factor, "must be >= 0 and finite")

    def rates(self, params: Parameters, names: Sequence[str]) -> dict[str, float | Tensor]:
        """The same for each, times its factor.

        Raises: ModelError for a pattern that matches none of them.
        """
        for pattern in self.factors:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError(
                    f"{type(self).__name__}.factors[{pattern!r}] matches none of the parameters that inner steps "
                    f"change: {', '.join(names)}"
                )
        return {name: self.lr * self.factor(name) for name in names}

    def factor(self, name: str) -> float:
        """Of a parameter's rate."""
        return next((factor for pattern, factor in self.factors.items() if fnmatchcase(name, pattern)), 1.0)


def _is_zero(rate: float | Tensor) -> bool:
    return isinstance(rate, float) and not rate


def _moves(
    model: Functional, now: Parameters, rates: Mapping[str, float | Tensor], support: Batch, differentiable: bool
) -> dict[str, Tensor]:
    """Minus the rates times the gradient, by name.

    A rate that all have multiplies the loss instead: fewer passes over all parameters of all episodes.
    """
    shared = _shared(rates)

    def loss(changed: dict[str, Tensor]) -> Tensor:
        return model.loss({**now, **changed}, support) * -(shared or 1.0)

    found = model.gradients(loss, {name: now[name] for name in rates}, differentiable=differentiable)[1]
    return found if shared else {name: rates[name] * move for name, move in found.items()}


def _shared(rates: Mapping[str, float | Tensor]) -> float | None:
    """The number that all rates are, if they are one."""
    first, *others = rates.values()
    if isinstance(first, float) and all(isinstance(rate, float) and rate == first for rate in others):
        return first
    return None
