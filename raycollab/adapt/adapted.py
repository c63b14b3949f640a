"""A task whose evaluations adapt to what they are given, without labels."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from raycollab.adapt.at_test import AtTest
from raycollab.metrics import Statistics
from raycollab.settings import require
from raycollab.tasks.wrapper import TaskWrapper
from raycollab.types import Batch


@dataclass(frozen=True)
class Adapted(TaskWrapper):
    """Another task, which scores the model as it is after adaptation to each batch; training is as without it.

    Args:
        task: Makes the model and the loss.
        method: Adapts a copy of the model; the model that is trained and saved stays as it is.
    """

    method: AtTest

    def __post_init__(self) -> None:
        super().__post_init__()
        accepted = "must be a method of adaptation at test, such as BatchStatistics() or Tent()"
        require(isinstance(self.method, AtTest), "Adapted.method", self.method, accepted)

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Statistics:
        """Statistics of the adapted model over batches."""
        was_training, total = model.training, Statistics.empty()
        model.eval()
        for batch, module in self.method.over(self.task, model, batches):
            with torch.no_grad():
                total = total + self.task.statistics(module, batch)
        model.train(was_training)
        return total
