"""A task that is scored by groups of examples as well: by the tasks of a sequence, or by what is new."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from raycollab.errors import ConfigError
from raycollab.metrics import Statistic, Statistics
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.wrapper import TaskWrapper
from raycollab.types import Batch


@dataclass(frozen=True)
class ByGroup(TaskWrapper):
    """Another task, whose primary metric is reported for groups of examples too, as METRIC/GROUP.

    Of a sequence of tasks, the groups' columns in the history are the accuracy matrix, and the report says how much was
    forgotten.

    Args:
        task: Makes the model and the loss.
        groups: Values of a column, by the group's name: `{"zero and one": (0, 1), ...}`.
        column: Which column, of whole numbers.
    """

    groups: Mapping[str, tuple[int, ...]]
    column: str = "label"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "groups", {name: tuple(values) for name, values in self.groups.items()})
        good = bool(self.groups) and all(self.groups.values()) and not any("/" in name for name in self.groups)
        require(good, "ByGroup.groups", self.groups, "must be values by name, one at least, without '/' in the names")

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """The task's, with the groups' metrics."""
        own, metric = self.task.fingerprint(spec), self.task.primary[0]
        return Fingerprint(own.loss, (*own.metrics, *(f"{metric}/{name}" for name in self.groups)), own.exchanged)

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """The task's over the batch, and over the examples of each group in it."""
        if self.column not in batch:
            raise ConfigError(f"ByGroup.column={self.column!r}: no such column; there are: {', '.join(sorted(batch))}")
        parts: dict[str, Statistic] = dict(self.task.statistics(model, batch).parts)
        for name, values in self.groups.items():
            chosen = torch.isin(batch[self.column], torch.tensor(values, device=batch[self.column].device))
            if not bool(chosen.any()):
                continue
            held = self.task.statistics(model, {key: column[chosen] for key, column in batch.items()})
            parts[f"{self.task.primary[0]}/{name}"] = OfGroup(name, self.task.primary[0], held.to_plain())
        return Statistics.of(parts)


@dataclass(frozen=True, eq=False)
class OfGroup(Statistic):
    """One metric of the statistics of a group of examples.

    Args:
        group: Its name.
        metric: Which metric is reported, as METRIC/GROUP.
        held: Statistics over the group, as plain data.
    """

    group: str
    metric: str
    held: dict[str, Any]

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "group", "metric")
        both = Statistics.from_plain(self.held) + Statistics.from_plain(other.held)
        return type(self)(self.group, self.metric, both.to_plain())

    def compute(self) -> dict[str, float]:
        """The metric, under the group's name."""
        return {f"{self.metric}/{self.group}": Statistics.from_plain(self.held).compute()[self.metric]}
