"""Adaptation by a few steps of gradient descent."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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
        """Take the inner steps."""
        names = [name for name in params if any(fnmatchcase(name, pattern) for pattern in self.inner)]
        if not names:
            raise ModelError(
                f"{type(self).__name__}: {self.inner} matches no trainable parameter; there are: {', '.join(params)}"
            )
        now, rates = dict(params), self.rates(params, names)
        for _ in range(self.steps):
            gradient = self._gradient(model, now, names, support, differentiable)
            now |= {name: now[name] - rates[name] * gradient[name] for name in names}
        return now if differentiable else {name: tensor.detach() for name, tensor in now.items()}

    def _gradient(
        self, model: Functional, now: Parameters, names: Sequence[str], support: Batch, differentiable: bool
    ) -> Parameters:
        def loss(changed: dict[str, Tensor]) -> Tensor:
            return model.loss({**now, **changed}, support)

        return model.gradients(loss, {name: now[name] for name in names}, differentiable=differentiable)[1]


@dataclass(frozen=True, kw_only=True)
class OneRate(InnerSteps):
    """Inner steps at one rate for all.

    Args:
        lr: Rate of the inner steps, > 0.
    """

    lr: float

    def __post_init__(self) -> None:
        super().__post_init__()
        good = 0 < self.lr < math.inf
        require(good, f"{type(self).__name__}.lr", self.lr, "must be > 0 and finite")

    def rates(self, params: Parameters, names: Sequence[str]) -> dict[str, float | Tensor]:
        """The same for each."""
        return dict.fromkeys(names, self.lr)
