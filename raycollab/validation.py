"""Validation data of the driver's own, and how good a merge would be on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from raycollab.data import Source
from raycollab.errors import DataError
from raycollab.params import FlatModel
from raycollab.quality.examination import row_hashes
from raycollab.rng import derive_seed
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.task import Task
from raycollab.types import WEIGHT_OF, AgentReport, Batch, Update

_BATCH = 1024  # examples that are scored at once


def check_disjoint(validation: SharedSet, test: SharedSet, task: Task) -> None:
    """Raise DataError if inputs of the validation set are in the test set: what is chosen by them must not see it."""
    tested = set(row_hashes(test.columns(), task, b""))
    found = row_hashes(validation.columns(), task, b"")
    shared = sum(row in tested for row in found)
    if shared:
        raise DataError(
            f"{validation.where}: {shared:,} of its {len(found):,} rows are in {test.where} too; what is chosen on "
            f"them would make the test worthless: hold rows out of the training data instead, such as "
            f"Holdout(source, 'test', 0.1)"
        )


class Validation:
    """An opened validation set.

    Args:
        source: Where it is.
        task: Checks and scores it.
        model: Scratch space of the driver.
        test: The shared test set, of which it may hold no row.
        seed: The run's seed, which shuffles it once.
    Raises: DataError if it cannot be read, is not of the task's form, or shares rows with the test set.
    """

    def __init__(self, source: Source, task: Task, model: FlatModel, test: SharedSet, seed: int):
        self.task, self.model = task, model
        self._opened = SharedSet(source, task, model.device, what="the validation set")
        check_disjoint(self._opened, test, task)
        self._seed = derive_seed(seed, "validation")
        self._batches: dict[tuple[int, int | None], list[Batch]] = {}

    def batches(self, batch_size: int, *, shuffled: bool) -> list[Batch]:
        """All rows, in batches that are made once."""
        key = (batch_size, self._seed if shuffled else None)
        if key not in self._batches:
            self._batches[key] = list(self._opened.batches(batch_size, seed=key[1]))
        return self._batches[key]

    def at(self, vectors: Mapping[str, Tensor]) -> "ValidationLoss":
        """How good a change of these committed vectors would be."""
        return ValidationLoss(self, vectors)


@dataclass(frozen=True)
class ValidationLoss:
    """The objective of a round: the model in evaluation mode, by the task's own loss."""

    validation: Validation
    vectors: Mapping[str, Tensor]

    def loss(self, change: Mapping[str, Tensor]) -> float:
        """Mean over all examples."""
        task, module = self.validation.task, self._changed(change)
        with torch.no_grad():
            batches = self.validation.batches(_BATCH, shuffled=False)
            counted = [(task.count(batch), float(task.loss(module, batch))) for batch in batches]
        return sum(count * loss for count, loss in counted) / sum(count for count, _ in counted)

    def gradient(self, change: Mapping[str, Tensor], *, part: int, batch_size: int) -> Tensor:
        """On one of the shuffled batches, [d]."""
        model, module = self.validation.model, self._changed(change)
        model.zero_grad()
        batches = self.validation.batches(batch_size, shuffled=True)
        self.validation.task.loss(module, batches[part % len(batches)]).backward()
        return torch.cat([grad.float() for grad in model.shared_grads]).cpu()

    def _changed(self, change: Mapping[str, Tensor]) -> nn.Module:
        model, vectors = self.validation.model, self.vectors
        model.load_private(None)
        buffers = vectors[BUFFERS] + change[BUFFERS] if BUFFERS in change else vectors[BUFFERS]
        model.load(vectors[PARAMS] + change[DELTA], buffers)
        return model.module.eval()


def weighed(reports: Sequence[AgentReport], aggregate: Update) -> tuple[AgentReport, ...]:
    """The agents' reports with the weights that the rule chose, if it did."""
    chosen = aggregate.scalars
    return tuple(replace(row, weight=chosen.get(f"{WEIGHT_OF}{row.agent}", row.weight)) for row in reports)
