"""One net that is learned at several widths."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab.metrics import Average, Confusion, Statistics
from raycollab.models.base import Model
from raycollab.models.sliced import sliced, unscaled, width_of
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint, Task
from raycollab.tasks.wrapper import TaskWrapper
from raycollab.types import Batch


@dataclass(frozen=True)
class OrderedDropout(TaskWrapper):
    """Another task, of which each step learns at a width that is drawn: the first channels of every hidden layer.

    So the net can be cut to any of the widths once it is trained (`TrainedModel.part`). An agent that holds
    `Width(0.5)` draws among the widths up to that. Evaluations are of all that is held, with the loss and the accuracy
    of each smaller width beside it. A net's BatchNorm has one set of statistics for all widths.

    Args:
        task: Makes the net and the loss.
        widths: Shares of the whole net's channels, in (0, 1].
        distil: How much of the loss of a smaller width is the divergence from the outputs of all that is held, in
            [0, 1]; above 0 every step learns at the full width as well.
    Source: Horvath et al., FjORD, NeurIPS 2021, arXiv 2102.13451, sections 3.1 and 4.2; the widths that an agent can
        hold are equally likely.
    """

    task: Task
    widths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    distil: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "widths", tuple(sorted(self.widths)))
        good = len(set(self.widths)) == len(self.widths) >= 1 and self.widths[0] > 0 and self.widths[-1] <= 1
        require(good, "OrderedDropout.widths", self.widths, "must be different shares in (0, 1]")
        require(0 <= self.distil <= 1, "OrderedDropout.distil", self.distil, "must be in [0, 1]")
        net = getattr(self.task, "net", None)
        accepted = "must be a task with one net, such as ImageClassification(CNN(10), 10)"
        require(isinstance(net, Model), "OrderedDropout.task", self.task, accepted)
        cast(Model, net).narrowed(self.widths[0])

    def with_net(self, change: Callable[[Model], Model]) -> Self:
        """Around the task with another net, without a factor on its outputs: each width learns for itself."""
        return super().with_net(lambda net: unscaled(change(net)))

    @property
    def tells_losses(self) -> bool:
        """Not with widths of an agent's own draws."""
        return False

    @property
    def held(self) -> tuple[float, ...]:
        """The widths that are learned here: those below what is held, and all of it."""
        own = width_of(self.task.net)  # type: ignore[attr-defined]
        return (*(width for width in self.widths if width < own), own)

    def at(self, model: nn.Module, width: float) -> nn.Module:
        """The model at one of its widths; it has no weights of its own."""
        return model if width == self.held[-1] else sliced(model, self.task.net, width)  # type: ignore[attr-defined]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's mean loss at a width that is drawn []."""
        held = self.held
        part = self.at(model, held[int(torch.randint(len(held), ()))])
        if not self.distil or part is model:
            return self.task.loss(part, batch)
        taught = self.task.logits(model, batch).detach().log_softmax(1)
        logs = self.task.logits(part, batch).log_softmax(1)
        distilled = functional.kl_div(logs, taught, reduction="batchmean", log_target=True)
        own = (1 - self.distil) * self.task.loss(part, batch) + self.distil * distilled
        return (self.task.loss(model, batch) + own) / 2

    def loss_and_features(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss at a width that is drawn, and the features at the full one."""
        return self.loss(model, batch), self.features(model, batch)

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """The task's at the full width; loss and accuracy at the others."""
        parts = dict(self.task.statistics(model, batch).parts)
        for width in self.held[:-1]:
            own = self.task.statistics(self.at(model, width), batch)
            loss, confusion = own.get("loss"), own.get("confusion")
            if isinstance(loss, Average):
                name = f"loss_of_width[{width:g}]"
                parts[name] = Average(name, loss.total, loss.weight)
            if isinstance(confusion, Confusion):
                name, counts = f"accuracy_of_width[{width:g}]", confusion.matrix
                parts[name] = Average(name, counts.trace(), counts.sum())
        return Statistics.of(parts)

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """The task's, with the widths in its loss."""
        own = self.task.fingerprint(spec)
        distilled = f", distilled {self.distil:g}" if self.distil else ""
        return replace(own, loss=f"{own.loss} at widths {self.widths}{distilled}")
