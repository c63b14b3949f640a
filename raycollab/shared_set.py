"""A set that no agent sees, such as the shared test set: opened, checked and scored by the driver."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from raycollab.config import Target
from raycollab.data import Columns, Parquet, Shard, Source, Table, table_within, usable
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.metrics import Statistics
from raycollab.misfit import described, explained, inputs_of, remedy
from raycollab.task import Task
from raycollab.types import Batch

_BATCH = 1024


class SharedSet:
    """An opened set.

    Args:
        source: Where it is.
        task: Checks and scores it.
        device: Where it is kept.
        what: What errors call it.

    Attributes:
        notes: What is to be said of it: how many of its rows were left out.

    Raises: DataError, naming it so, if it cannot be read or is not of the task's form.
    """

    def __init__(self, source: Source, task: Task, device: str, what: str = "the shared test set"):
        self._source = source
        self._task = task
        self.where = where = f"{what}: {source.describe()}"
        try:
            found = usable(source, task.check, where)
        except DataError as error:
            message = str(error)
            named = message if message.startswith(what) else f"{what}: {message}"
            raise DataError(named) from error
        self._shard = Shard(found.columns, val_fraction=0.0, seed=0, device=device, name=where)
        self.notes = found.notes(what)

    def check_metrics(self, target: str | None, module: nn.Module, task: Task | None = None) -> None:
        """Score two rows, before any work is done; by another task for a module of another form.

        Raises: ConfigError if the task's primary metric or the target's is not reported; ModelError if the task's net
            cannot be given these rows.
        """
        found = check_form(task or self._task, module, next(self._shard.batches("train", 2, seed=None)), self.where)
        primary, _ = self._task.primary
        if primary not in found:
            name = type(self._task).__name__
            raise ConfigError(f"{name}.primary={primary!r}: {name}.statistics reports only: {', '.join(sorted(found))}")
        if target is not None:
            Target.parse(target).reached(found)

    def columns(self) -> Columns:
        """Its rows, in order."""
        return self._shard.columns()

    def batches(self, batch_size: int, *, seed: int | None) -> Iterator[Batch]:
        """One pass over its rows, shuffled by the seed, or in order if it is None."""
        return self._shard.batches("train", batch_size, seed=seed)

    def score(self, module: nn.Module, *, task: Task | None = None) -> Statistics:
        """Statistics of a module over the whole set, by its task; another one for a module of another form."""
        return (task or self._task).evaluate(module, self.batches(_BATCH, seed=None))

    def reader(self) -> Table:
        """How to read files for the trained model: as this set was read, or by the shapes of its columns."""
        table = table_within(self._source)
        if table is not None:
            return replace(table, where={})
        name = getattr(self._task, "inputs", None)
        shapes = {name: tuple(self._shard.columns()[name].shape[1:])} if isinstance(name, str) else None
        return Parquet("data.parquet", shapes=shapes)


def check_form(task: Task, module: nn.Module, batch: Batch, where: str) -> dict[str, float]:
    """Score a few rows, before any work is done; returns the metrics.

    Raises: ModelError if the task's net cannot be given these rows, or makes of them what the task cannot score.
    """
    given, net = inputs_of(task, batch), getattr(task, "net", None)
    what = f"{type(task).__name__}.net={net!r} cannot be given {described(given)} of {where}"
    was_training = module.training
    with torch.no_grad(), explained(ModelError, what, remedy(net, given)):
        found = task.statistics(module.eval(), batch).compute()
    module.train(was_training)
    return found
