"""SGD's step on the parameters of k agents, taken while the gradient is being made."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Descent:
    """One step of SGD for k agents, parameter by parameter: torch.optim.SGD's rule without a stored gradient.

    A gradient that is a product of two matrices is added to the parameters, or to the velocities, by the product
    itself: it is never written down and read again.

    Args:
        params: One tensor [k, ...] per parameter, changed in place.
        lr: Learning rate of this step.
        weight_decay: L2 penalty.
        momentum: Factor of the velocities.
        velocities: One tensor [k, ...] per parameter, changed in place; none without momentum.
    """

    params: Sequence[Tensor]
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.0
    velocities: Sequence[Tensor] = ()

    def by_product(self, place: int, left: Tensor, right: Tensor) -> None:
        """Step a parameter [k, m, n] whose gradient is left [k, m, b] times right [k, b, n]."""
        param = self.params[place]
        if not self.momentum:
            param.baddbmm_(left, right, beta=1.0 - self.lr * self.weight_decay, alpha=-self.lr)
            return
        velocity = self.velocities[place].baddbmm_(left, right, beta=self.momentum)
        self._follow(param, velocity)

    def by_gradient(self, place: int, grad: Tensor) -> None:
        """Step a parameter [k, ...] by its gradient of the same shape."""
        param = self.params[place]
        if not self.momentum:
            if self.weight_decay:
                param.mul_(1.0 - self.lr * self.weight_decay)
            param.add_(grad, alpha=-self.lr)
            return
        self._follow(param, self.velocities[place].mul_(self.momentum).add_(grad))

    def _follow(self, param: Tensor, velocity: Tensor) -> None:
        if self.weight_decay:
            velocity.add_(param, alpha=self.weight_decay)
        param.add_(velocity, alpha=-self.lr)
