"""Validation data of the driver's own, and how good a merge would be on it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from raycollab.aggregation import OF_ROUND
from raycollab.data import Source
from raycollab.errors import DataError
from raycollab.params import FlatModel
from raycollab.quality.examination import row_hashes
from raycollab.rng import derive_seed
from raycollab.shared_set import SharedSet
from raycollab.spec import BUFFERS, DELTA, PARAMS
from raycollab.task import Task
from raycollab.types import (
    ALIKE_OF,
    RULE_EPSILON,
    STANDING_OF,
    WEIGHT_OF,
    WORTH_OF,
    AgentReport,
    Batch,
    Failure,
    Update,
)

Hosts = Callable[[Sequence[Mapping[str, Tensor]]], Sequence[float | Failure]]
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
        test: The shared test set, of which it may hold no row; None where somebody else has looked at that.
        seed: The run's seed, which shuffles it once.
        hosts: Who judges several candidates side by side; None leaves it to this process.

    Attributes:
        notes: What is to be said of it from the beginning: how many of its rows were left out.

    Raises: DataError if it cannot be read, is not of the task's form, or shares rows with the test set.
    """

    def __init__(
        self,
        source: Source,
        task: Task,
        model: FlatModel,
        test: SharedSet | None,
        seed: int,
        hosts: Hosts | None = None,
    ):
        self.task, self.model = task, model
        self._opened = SharedSet(source, task, model.device, what="the validation set")
        if test is not None:
            check_disjoint(self._opened, test, task)
        self._hosts = hosts
        self.notes = self._opened.notes
        self._notes: list[str] = []
        self._seed = derive_seed(seed, "validation")
        self._batches: dict[tuple[int, int | None], list[Batch]] = {}

    def batches(self, batch_size: int, *, shuffled: bool) -> list[Batch]:
        """All rows, in batches that are made once."""
        key = (batch_size, self._seed if shuffled else None)
        if key not in self._batches:
            self._batches[key] = list(self._opened.batches(batch_size, seed=key[1]))
        return self._batches[key]

    def loss(self, vectors: Mapping[str, Tensor]) -> float:
        """Mean over all examples, of the model with these vectors."""
        module = self.loaded(vectors)
        with torch.no_grad():
            batches = self.batches(_BATCH, shuffled=False)
            counted = [(self.task.count(batch), float(self.task.loss(module, batch))) for batch in batches]
        return sum(count * loss for count, loss in counted) / sum(count for count, _ in counted)

    def losses(self, candidates: Sequence[Mapping[str, Tensor]]) -> list[float]:
        """`loss` of each: by the hosts, if they may, and by this process where they give none."""
        outcomes = self._hosts(candidates) if self._hosts is not None and len(candidates) > 1 else ()
        if not outcomes:
            return [self.loss(candidate) for candidate in candidates]
        lost = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if lost:
            self._notes.append(
                f"the driver judged {len(lost)} of {len(candidates)} merges that hosts did not: {lost[0].message}"
            )
        return [
            self.loss(candidate) if isinstance(outcome, Failure) else outcome
            for candidate, outcome in zip(candidates, outcomes, strict=True)
        ]

    def news(self) -> list[str]:
        """What is to be said of it since the last time."""
        since, self._notes = self._notes, []
        return since

    def loaded(self, vectors: Mapping[str, Tensor]) -> nn.Module:
        """The model with these vectors, in evaluation mode."""
        self.model.load_private(None)
        self.model.load(vectors[PARAMS], vectors[BUFFERS])
        return self.model.module.eval()

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
        return self.validation.loss(self._changed(change))

    def losses(self, changes: Iterable[Mapping[str, Tensor]]) -> list[float]:
        """Means over all examples."""
        return self.validation.losses([self._changed(change) for change in changes])

    def gradient(self, change: Mapping[str, Tensor], *, part: int, batch_size: int) -> Tensor:
        """On one of the shuffled batches, [d]."""
        module = self.validation.loaded(self._changed(change))
        batches = self.validation.batches(batch_size, shuffled=True)
        loss = self.validation.task.loss(module, batches[part % len(batches)])
        return self.validation.model.gradient(loss).cpu()

    def _changed(self, change: Mapping[str, Tensor]) -> dict[str, Tensor]:
        vectors = self.vectors
        buffers = vectors[BUFFERS] + change[BUFFERS] if BUFFERS in change else vectors[BUFFERS]
        return {PARAMS: vectors[PARAMS] + change[DELTA], BUFFERS: buffers}


def told(aggregate: Update) -> dict[str, float]:
    """What the rule says of a round as a whole, by name."""
    said = aggregate.scalars.items()
    return {name.removeprefix(OF_ROUND): value for name, value in said if name.startswith(OF_ROUND)}


def weighed(reports: Sequence[AgentReport], aggregate: Update) -> tuple[AgentReport, ...]:
    """The agents' reports with the weights that the rule chose, and what it has told of each party, if it did."""
    said = aggregate.scalars
    return tuple(
        replace(
            row,
            weight=said.get(f"{WEIGHT_OF}{row.agent}", row.weight),
            party_epsilon=said.get(RULE_EPSILON, row.party_epsilon),
            contribution=said.get(f"{WORTH_OF}{row.agent}", row.contribution),
            standing=said.get(f"{STANDING_OF}{row.agent}", row.standing),
            alike=said.get(f"{ALIKE_OF}{row.agent}", row.alike),
        )
        for row in reports
    )
