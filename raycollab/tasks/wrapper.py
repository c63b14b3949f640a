"""Tasks that do something beside another one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor, nn

from raycollab.labels import Labels
from raycollab.metrics import Statistics
from raycollab.models.base import Model
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.types import Batch


@dataclass(frozen=True)
class TaskWrapper(Task):
    """Does what another task does, and has what it has; override what differs.

    Args:
        task: Makes the model and the loss.
    """

    task: Task

    def __post_init__(self) -> None:
        require(isinstance(self.task, Task), f"{type(self).__name__}.task", self.task, "must be a Task")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "task":  # what pickle looks for before there is a task
            raise AttributeError(name)
        return getattr(self.task, name)

    def with_net(self, change: Callable[[Model], Model]) -> Self:
        """Around the task with another net."""
        return replace(self, task=self.task.with_net(change))

    @property
    def primary(self) -> tuple[str, bool]:  # type: ignore[override]
        """The task's own."""
        return self.task.primary

    @property
    def tells_losses(self) -> bool:
        """As the task does."""
        return self.task.tells_losses

    def model(self) -> nn.Module:
        """Build the task's model."""
        return self.task.model()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's mean loss []."""
        return self.task.loss(model, batch)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The task's losses [b]."""
        return self.task.losses(outputs, batch)

    def losses_and_gradients(self, batch: Batch, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The task's."""
        return self.task.losses_and_gradients(batch, outputs)

    def inputs_of(self, batch: Batch) -> Tensor:
        """What the task's model is called with."""
        return self.task.inputs_of(batch)

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's features [b, f]."""
        return self.task.features(model, batch)

    def loss_and_features(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The task's."""
        return self.task.loss_and_features(model, batch)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's logits [b, c]."""
        return self.task.logits(model, batch)

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """The task's."""
        return self.task.statistics(model, batch)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The task's predictions."""
        return self.task.predict(model, batch)

    def count(self, batch: Batch) -> int:
        """The task's count."""
        return self.task.count(batch)

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from, as the task says."""
        return self.task.check(columns, where)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """What the task says."""
        return self.task.coverage(columns)

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """The task's."""
        return self.task.count_labels(columns)

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """The task's."""
        return self.task.fingerprint(spec)
