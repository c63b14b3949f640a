"""A task whose model is judged after it has adapted to a few examples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raycollab.data import Shard
from raycollab.labels import NO_LABELS, Labels, labels_of
from raycollab.meta.base import MetaLearner
from raycollab.meta.episodes import Episodes
from raycollab.meta.evaluation import HALF, OverEpisodes, Scorer, drawn
from raycollab.metrics import Statistics
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.wrapper import TaskWrapper
from raycollab.types import Batch

_MOST_CLASSES = 4096  # that are counted one by one


@dataclass(frozen=True)
class MetaTask(TaskWrapper):
    """Another task, of which the shared set scores what the model learns of a few examples, and not what it knows.

    Every evaluation draws the same episodes from the set's rows, adapts the model to each support by itself, and
    reports loss and the task's primary metric on the queries: their means over episodes, and as NAME_half half the
    width of the 95 % interval. Rows may be of any classes where episodes name their own (`FewShot`). The learner is
    saved with the model: `result.adapt(support)` needs nothing else.

    Args:
        task: Makes the model and the loss; of as many classes as an episode has.
        learner: Adapts.
        tasks: Draws the episodes; None takes the learner's.
        episodes: How many, >= 2.
        seed: Of the episodes.
    """

    learner: MetaLearner
    tasks: Episodes | None = None
    episodes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.learner, MetaLearner), "MetaTask.learner", self.learner, "must be a MetaLearner")
        require(self.episodes >= 2, "MetaTask.episodes", self.episodes, "must be >= 2: one has no interval")

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """The task's statistics of the model as it is; its rows' classes do not count where episodes name their own."""
        return self.task.statistics(model, self._named(batch))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from, as the task says; classes may be any where episodes name their own."""
        return self.task.check(self._named(columns), where)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many classes there are, where episodes name their own; else what the task says."""
        label = self._label(columns)
        return self.task.coverage(columns) if label is None else f"{len(columns[label].unique())} classes"

    def count_labels(self, columns: Mapping[str, Tensor]) -> Labels:
        """How many examples there are of each class, where episodes name their own; else what the task says.

        Nothing of classes whose numbers are large, such as those of people: no row of counts would show them.
        """
        label = self._label(columns)
        if label is None or not len(columns[label]):
            return self.task.count_labels(columns)
        most = int(columns[label].max()) + 1
        return labels_of(columns[label], most) if most <= _MOST_CLASSES else NO_LABELS

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """The task's loss after adaptation, and what evaluations report."""
        own = self.task.fingerprint(spec)
        metrics = tuple(name for metric in self._reported for name in (metric, f"{metric}{HALF}"))
        return Fingerprint(f"{own.loss} after {type(self.learner).__name__}", metrics, own.exchanged)

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Statistics:
        """Means over episodes that are drawn from all rows together; nothing of no rows."""
        parts = list(batches)
        if not parts:
            return Statistics.empty()
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        device = str(next(model.parameters()).device)
        shard = Shard(columns, val_fraction=0.0, seed=0, device=device)
        scorer = Scorer(self.task, model, self.learner)
        episodes = drawn(self._tasks, shard, self.episodes, self.seed)
        scores = [scorer.score(scorer.adapted(episode), episode) for episode in episodes]
        return Statistics.of(
            {name: OverEpisodes.of(name, [score[name] for score in scores]) for name in self._reported}
        )

    @property
    def _tasks(self) -> Episodes:
        return self.tasks or self.learner.tasks

    @property
    def _reported(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("loss", self.primary[0])))

    def _label(self, columns: Mapping[str, Tensor]) -> str | None:
        label = getattr(self.task, "label", None)
        return label if self._tasks.relabels and isinstance(label, str) and label in columns else None

    def _named(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        label = self._label(columns)
        return {**columns} if label is None else {**columns, label: torch.zeros_like(columns[label])}
