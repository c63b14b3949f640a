"""The shared test set that no agent sees: opened, checked and scored by the driver."""

from dataclasses import replace

import torch
from torch import nn

from raycollab.config import Target
from raycollab.data import Parquet, Shard, Source, Table
from raycollab.errors import ConfigError, DataError, ModelError
from raycollab.metrics import Statistics
from raycollab.misfit import described, explained, inputs_of, remedy
from raycollab.task import Task

_BATCH = 1024


class SharedSet:
    """An opened test set.

    Args:
        source: Where it is.
        task: Checks and scores it.
        device: Where it is kept.
    Raises: DataError, naming it the shared test set, if it cannot be read or is not of the task's form.
    """

    def __init__(self, source: Source, task: Task, device: str):
        self._source = source
        self._task = task
        self._where = where = f"the shared test set: {source.describe()}"
        try:
            columns = source.read()
            good = task.check(columns, where)
        except DataError as error:
            message = str(error)
            named = message if message.startswith("the shared") else f"the shared test set: {message}"
            raise DataError(named) from error
        kept = {name: column[good] for name, column in columns.items()}
        self._shard = Shard(kept, val_fraction=0.0, seed=0, device=device, name=where)

    def check_metrics(self, target: str | None, module: nn.Module) -> None:
        """Score two rows, before any work is done.

        Raises: ConfigError if the task's primary metric or the target's is not reported; ModelError if the task's net
            cannot be given these rows.
        """
        batch = next(self._shard.batches("train", 2, seed=None))
        given, net = inputs_of(self._task, batch), getattr(self._task, "net", None)
        what = f"{type(self._task).__name__}.net={net!r} cannot be given {described(given)} of {self._where}"
        with torch.no_grad(), explained(ModelError, what, remedy(net, given)):
            found = self._task.statistics(module.eval(), batch).compute()
        primary, _ = self._task.primary
        if primary not in found:
            name = type(self._task).__name__
            raise ConfigError(f"{name}.primary={primary!r}: {name}.statistics reports only: {', '.join(sorted(found))}")
        if target is not None:
            Target.parse(target).reached(found)

    def score(self, module: nn.Module) -> Statistics:
        """Statistics of a module over the whole set."""
        return self._task.evaluate(module, self._shard.batches("train", _BATCH, seed=None))

    def reader(self) -> Table:
        """How to read files for the trained model: as this set was read, or by the shapes of its columns."""
        source: Source | None = self._source
        while source is not None and not isinstance(source, Table):
            source = getattr(source, "source", None)  # of a Holdout, a Part or another source that changes one
        if source is not None:
            return replace(source, where={})
        name = getattr(self._task, "inputs", None)
        shapes = {name: tuple(self._shard.columns()[name].shape[1:])} if isinstance(name, str) else None
        return Parquet("data.parquet", shapes=shapes)
