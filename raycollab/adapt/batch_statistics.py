"""BatchNorm with the statistics of what is predicted."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from raycollab.adapt.at_test import AtTest, no_labels
from raycollab.adapt.batch_norm import norm_layers, refresh
from raycollab.settings import require
from raycollab.task import Task
from raycollab.types import Batch, State


@dataclass(frozen=True, kw_only=True)
class BatchStatistics(AtTest):
    """Normalises each batch by its own statistics, mixed with the trained ones.

    Args:
        prior: Examples that the trained statistics count as: they have a share of prior / (prior + b) for a batch of b.
            0 takes the batch alone.
    Raises: ModelError for a model without BatchNorm's statistics.
    Source: Schneider et al., NeurIPS 2020, arXiv 2006.16971, equation 2; Nado et al., 2020, arXiv 2006.10963 (prior 0).
    """

    prior: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.prior >= 0, "BatchStatistics.prior", self.prior, "must be >= 0 examples")

    def begin(self, module: nn.Module) -> State:
        """The trained statistics."""
        layers = norm_layers(module, "BatchStatistics")
        return {
            name: (cast(Tensor, layer.running_mean).clone(), cast(Tensor, layer.running_var).clone())
            for name, layer in layers.items()
        }

    def step(self, task: Task, module: nn.Module, batch: Batch, state: State) -> State:
        """Mix the batch's statistics in."""
        layers = norm_layers(module, "BatchStatistics")
        inputs = no_labels(task, batch)
        refresh(module, layers.values(), [inputs], lambda each: task.predict(module, each))
        trained = self.prior / (self.prior + len(next(iter(batch.values()))))
        with torch.no_grad():
            for name, layer in layers.items():
                for now, before in zip((layer.running_mean, layer.running_var), state[name], strict=True):
                    cast(Tensor, now).mul_(1 - trained).add_(before, alpha=trained)
        return state
