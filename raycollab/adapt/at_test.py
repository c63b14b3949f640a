"""Adaptation to unlabelled examples, batch by batch, while a model is used."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from raycollab.settings import Settings, require
from raycollab.task import Task
from raycollab.types import Batch, State


@dataclass(frozen=True, kw_only=True)
class AtTest(Settings, ABC):
    """Changes a copy of a model by the inputs that it is given; labels are never looked at.

    Off unless it is asked for: `rc.load(path).predict(columns, adapt=rc.adapt.BatchStatistics())`, and
    `rc.adapt.Adapted(task, METHOD)` for evaluations of a run.

    Args:
        batch_size: Examples that are predicted together.
        min_batch: Batches of fewer examples are predicted with the model as it is: their statistics are noise.
    """

    batch_size: int = 200
    min_batch: int = 16

    def __post_init__(self) -> None:
        name = type(self).__name__
        require(self.batch_size >= 2, f"{name}.batch_size", self.batch_size, "must be >= 2: one has no variance")
        in_batch = 2 <= self.min_batch <= self.batch_size
        require(in_batch, f"{name}.min_batch", self.min_batch, f"must be in 2..batch_size={self.batch_size}")

    @abstractmethod
    def begin(self, module: nn.Module) -> State:
        """What it remembers of a model, which it may change from now on.

        Raises: ModelError if the model has nothing to adapt.
        """

    @abstractmethod
    def step(self, task: Task, module: nn.Module, batch: Batch, state: State) -> State:
        """Adapt the module to a batch, in place; it is then ready to predict that batch."""

    def over(self, task: Task, module: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, nn.Module]]:
        """Each batch, cut to size, with the module to predict it by; the module that is given stays as it is."""
        adapted = None
        state: State = None
        for batch in (piece for whole in batches for piece in _pieces(whole, self.batch_size)):
            if len(next(iter(batch.values()))) < self.min_batch:
                yield batch, module
                continue
            if adapted is None:
                adapted = copy.deepcopy(module).eval()
                state = self.begin(adapted)
            state = self.step(task, adapted, batch, state)
            yield batch, adapted


def _pieces(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(next(iter(batch.values()))), size):
        yield {name: column[start : start + size] for name, column in batch.items()}


def no_labels(task: Task, batch: Batch) -> Batch:
    """A batch without the task's labels."""
    label = getattr(task, "label", None)
    return {name: column for name, column in batch.items() if name != label}


def entropies(task: Task, module: nn.Module, batch: Batch) -> torch.Tensor:
    """Entropy of the predicted classes of each example, in nats [b]."""
    logs = task.logits(module, no_labels(task, batch)).log_softmax(1)
    return -(logs.exp() * logs).sum(1)
