"""What stands at the party with the labels: the fusion of all activations, the head, and the loss."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from raycollab.determinism import seeded
from raycollab.errors import UpdateError
from raycollab.metrics import Statistics
from raycollab.types import Batch
from raycollab.vertical.bottom import Learning, check_values
from raycollab.vertical.party import Party
from raycollab.vertical.plan import Plan


class TopNet(nn.Module):
    """A fusion of the parties' activations, and the task's net on what it makes.

    Args:
        plan: The fusion, and the task, whose net is the head.
        widths: Length of each party's activations.
    """

    def __init__(self, plan: Plan, widths: Mapping[str, int]):
        super().__init__()
        self.widths = dict(widths)
        self.fusion: nn.Module = plan.fusion.build(widths, 0)
        self.head: nn.Module = plan.task.model()


class Top(Learning):
    """The fusion, the head and the loss.

    Args:
        party: The one with the labels.
        plan: The task, whose net is the head, and the fusion.
        shapes: Shape of one row of each party's activations.
        device: Where it computes.
        seed: Of its first weights.
    """

    def __init__(
        self,
        party: Party,
        plan: Plan,
        shapes: Mapping[str, tuple[int, ...]],
        device: str,
        seed: int,
    ):
        with seeded(seed):
            module = TopNet(plan, {name: shape[-1] for name, shape in shapes.items()})
        super().__init__(party, module, device)
        self.net = module
        self._plan, self._task, self._shapes = plan, plan.task, dict(shapes)

    def step(self, activations: Mapping[str, Tensor], labels: Tensor, seed: int) -> tuple[float, dict[str, Tensor]]:
        """Take a step; the mean loss, and its gradient by each party's activations.

        Raises: UpdateError for activations of another shape than was agreed, or that are not finite.
        """
        given = {name: values.requires_grad_() for name, values in self._checked(activations, len(labels)).items()}
        self.module.train()
        self.optimizer.zero_grad()
        with seeded(seed, labels.device.type):
            loss = self._task.loss(self.net.head, self._batch(given, labels))
        loss.backward()
        self.optimizer.step()
        gradients = {name: _gradient(values) for name, values in given.items()}
        return loss.item(), gradients

    def score(self, activations: Mapping[str, Tensor], labels: Tensor) -> Statistics:
        """Statistics of a batch in evaluation."""
        self.module.eval()
        with torch.no_grad():
            return self._task.statistics(self.net.head, self._batch(self._checked(activations, len(labels)), labels))

    def _batch(self, given: Mapping[str, Tensor], labels: Tensor) -> Batch:
        return {self._plan.fused: self.net.fusion(given), self._plan.label: labels}

    def _checked(self, activations: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        if set(activations) != set(self._shapes):
            raise UpdateError(f"activations of {sorted(activations)} came, and those of {sorted(self._shapes)} are due")
        for name, values in activations.items():
            check_values(values, (count, *self._shapes[name]), f"what party {name!r} sent")
        return {name: values.detach() for name, values in activations.items()}


def _gradient(values: Tensor) -> Tensor:
    """Zeros where nothing of it was used."""
    return torch.zeros_like(values) if values.grad is None else values.grad
