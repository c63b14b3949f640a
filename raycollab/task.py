"""What is learned: a task makes the model, the loss and the metrics; a problem is a task as one agent sees it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError, RoundStopped, TaskMismatchError
from raycollab.labels import NO_LABELS, Labels
from raycollab.metrics import Statistics
from raycollab.models.base import Model
from raycollab.params import FlatModel
from raycollab.settings import Settings
from raycollab.spec import ParamSpec, fits
from raycollab.types import Batch, Round


class Shard(Protocol):
    """An agent's opened data."""

    def num_examples(self, split: str = "train") -> int:
        """Number of examples of a split, "train" or "val"."""

    def batches(self, split: str, batch_size: int, *, seed: int | None, drop_last: bool = False) -> Iterator[Batch]:
        """One pass over a split, shuffled by the seed, or in order if it is None."""


@dataclass(frozen=True)
class Fingerprint:
    """What every party approves before round 1."""

    loss: str
    metrics: tuple[str, ...]
    exchanged: tuple[tuple[str, tuple[int, ...]], ...]  # name and shape

    def digest(self) -> str:
        """Short hash that stands for it."""
        return hashlib.blake2b(json.dumps(asdict(self)).encode(), digest_size=8).hexdigest()

    def check_offer(self, offer: "Fingerprint", agent: str, *, slices: bool = False) -> None:
        """Raise TaskMismatchError unless `offer` is this task, or exchanges a superset of what this one does.

        With slices, a tensor of this task may be the first rows, columns, ... of the offered one of its name.
        """
        differs = [f"{name} {getattr(offer, name)!r} for {getattr(self, name)!r}" for name in ("loss", "metrics")
                   if getattr(offer, name) != getattr(self, name)]  # fmt: skip
        offered = dict(offer.exchanged)
        missing = sorted(
            name for name, shape in self.exchanged if name not in offered or not fits(shape, offered[name], slices)
        )
        if missing:
            missed = f"no exchanged {', '.join(missing)} of the approved shape"
            remedy = "keep a head of one's own private, with Exchange(exclude=...)"
            part = "" if slices else ", or let a smaller net be a part of the larger one, with Exchange(slices=True)"
            differs.append(f"{missed}; {remedy}{part}")
        if differs:
            raise TaskMismatchError(
                f"agent {agent!r} approved task {self.digest()} and was offered {offer.digest()}: {'; '.join(differs)}"
            )


class Task(Settings, ABC):
    """The model, its loss and its metrics. A value: parties compare it, and it travels."""

    primary: tuple[str, bool] = ("loss", False)  # the metric that patience and drift look at; whether higher is better
    needs_all_inputs: ClassVar[bool] = True  # whether no column of `inputs` may be absent when the model is used

    @abstractmethod
    def model(self) -> nn.Module:
        """Build the model; its initial weights come from torch's seed, which the caller sets."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss over a batch: a scalar []."""

    @abstractmethod
    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Statistics of one batch; they merge exactly over batches and agents."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Predictions by column name, each [b] or [b, c]."""

    @abstractmethod
    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""

    def with_net(self, change: Callable[[Model], Model]) -> Self:
        """The same task with another net.

        Args:
            change: Makes it of the one that there is.
        Raises: ModelError if the task has not one net.
        """
        net = getattr(self, "net", None)
        if not isinstance(net, Model) or not is_dataclass(self):
            raise ModelError(f"{type(self).__name__} has not one net that could be another; give the agent a task=")
        return replace(self, net=change(net))

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model makes of each example before its last layer, for rules that compare representations: [b, f].

        Raises: ModelError if the task does not say what that is.
        """
        del model, batch
        name = type(self).__name__
        raise ModelError(f"{name} gives no features, which the learner compares: override {name}.features")

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model says of each example before any softmax, for rules that distil: [b, c].

        Raises: ModelError if the task does not say what that is.
        """
        del model, batch
        name = type(self).__name__
        raise ModelError(f"{name} gives no logits, which the learner distils: override {name}.logits")

    def loss_and_features(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both; override it where one forward pass gives the two."""
        return self.loss(model, batch), self.features(model, batch)

    def inputs_of(self, batch: Batch) -> Tensor:
        """What the model is called with [b, ...], for agents that learn in the same steps.

        Raises: ModelError if the task does not say what that is.
        """
        del batch
        raise ModelError(f"{type(self).__name__} does not say what its model is called with: override inputs_of")

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of each example, given what the model makes of `inputs_of` [b]; `loss` is their mean.

        Raises: ModelError if the task does not say what that is.
        """
        del outputs, batch
        raise ModelError(f"{type(self).__name__} does not say what an example's loss is: override losses")

    def losses_and_gradients(self, batch: Batch, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """`losses` [b], and the gradient of their sum by the outputs [b, ...]; override it where there is a formula."""
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            losses = self.losses(outputs, batch)
            return losses.detach(), torch.autograd.grad(losses.sum(), outputs)[0]

    @property
    def tells_losses(self) -> bool:
        """Whether `losses` belongs to `loss`: whether one class defines both, and no subclass of it only one."""

        def owner(name: str) -> type:
            return next(kind for kind in type(self).mro() if name in vars(kind))

        own = owner("loss")
        return own is owner("losses") and own is not Task and owner("losses_and_gradients") in (own, Task)

    def count(self, batch: Batch) -> int:
        """Number of examples (or tokens) in a batch: what losses are averaged over."""
        return len(next(iter(batch.values())))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: bool [n].

        Raises: DataError if the data is not of the task's form.
        """
        del where
        return torch.ones(len(next(iter(columns.values()))), dtype=torch.bool)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """One phrase on what the data covers, such as `7 of 10 labels`; empty if there is nothing to say."""
        del columns
        return ""

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many labels of each kind there are, whatever form the data has; none if the task has none."""
        del columns
        return NO_LABELS

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Statistics:
        """Statistics of a model over batches, in evaluation mode and without gradients."""
        was_training = model.training
        model.eval()
        total = Statistics.empty()
        with torch.no_grad():
            for batch in batches:
                total = total + self.statistics(model, batch)
        model.train(was_training)
        return total


class Adapts(Protocol):
    """What learns from a few examples, as the meta-learners do."""

    def adapted(self, task: Task, module: nn.Module, support: Batch) -> nn.Module:
        """Let a module learn from them, in place."""


class AdaptsAtTest(Protocol):
    """What adapts to unlabelled examples while a model is used, as those of raycollab.adapt do."""

    def over(self, task: Task, module: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, nn.Module]]:
        """Each batch, perhaps cut, with the module to predict it by; the module that is given stays as it is."""


@dataclass(frozen=True)
class Problem:
    """What a learner sees of its agent: the model to train, the loss, the data and whether to stop.

    Args:
        agent: Name of the agent.
        task: Gives the loss.
        model: Scratch space; load parameters before use.
        shard: The agent's data.
        stop: Asked before every batch; a true answer ends the update.
    """

    agent: str
    task: Task
    model: FlatModel
    shard: Shard
    stop: Callable[[], bool]

    def batches(
        self, round: Round, *, batch_size: int, epochs: int, steps: int | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Shuffled training batches: `epochs` passes, or exactly `steps` batches over as many passes as needed.

        `drop_last` leaves out a pass's last batch if it is smaller, unless it is the only one.

        Raises: RoundStopped once `stop` says so.
        """
        done = 0
        epoch = 0
        if not self.shard.num_examples("train"):  # all its rows wait for a model with more outputs
            return
        drop_last = drop_last and self.shard.num_examples("train") >= batch_size
        while epoch < epochs if steps is None else done < steps:
            seed = round.seed_for("batches", self.agent, epoch)
            for batch in self.shard.batches("train", batch_size, seed=seed, drop_last=drop_last):
                if self.stop():
                    raise RoundStopped(
                        f"agent {self.agent!r} was told to stop in round {round.index} after {done} batches"
                    )
                yield batch
                done += 1
                if done == steps:
                    return
            epoch += 1

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss over a batch []; learners that add to it override it."""
        return self.task.loss(self.model.module, batch)

    def backward(self, batch: Batch, *, micro_batch_size: int | None = None, autocast: bool = False) -> Tensor:
        """Put the gradient of the batch's mean loss into `model.grads`; returns the loss [].

        Args:
            batch: Tensors or lists of one length.
            micro_batch_size: Work it through in pieces of this many examples, if not None.
            autocast: Compute in bfloat16 where torch deems it safe.
        """
        self.model.zero_grad()
        pieces = [batch] if micro_batch_size is None else _pieces(batch, micro_batch_size)
        whole = self.task.count(batch) if len(pieces) > 1 else 0
        losses = []
        for piece in pieces:
            loss = self._autocast_loss(piece) if autocast else self.loss(piece)
            if whole:
                loss = loss * (self.task.count(piece) / whole)
            loss.backward()
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _autocast_loss(self, batch: Batch) -> Tensor:
        with torch.autocast(self.model.device.partition(":")[0], torch.bfloat16):
            return self.loss(batch)


def _pieces(batch: Batch, size: int) -> list[Batch]:
    """A batch in pieces of at most this many examples; nested dicts are cut inside."""

    def cut(value: Any, start: int) -> Any:
        if isinstance(value, Mapping):
            return {name: cut(inner, start) for name, inner in value.items()}
        return value[start : start + size]

    def length(value: Any) -> int:
        return length(next(iter(value.values()))) if isinstance(value, Mapping) else len(value)

    return [cut(batch, start) for start in range(0, length(batch), size)]
