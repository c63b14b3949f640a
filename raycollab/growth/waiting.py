"""Rows whose label a model has no output for yet: they wait."""

import torch

from raycollab.data import Shard, StreamedShard
from raycollab.errors import DataError
from raycollab.task import Task


class Waiting:
    """An agent's rows that its model can learn from, and the largest label among all of them.

    Args:
        task: Says which column the labels are, if it has classes.
    """

    def __init__(self, task: Task):
        self._label: str | None = getattr(task, "label", None) if hasattr(task, "num_classes") else None
        self._known: tuple[object, int, Shard | StreamedShard] | None = None

    def ready(self, shard: Shard | StreamedShard, outputs: int | None) -> Shard | StreamedShard:
        """The shard without the training rows that wait.

        Args:
            shard: All rows.
            outputs: Classes that there are outputs for; None for all.
        Raises: DataError for rows that are never in memory together.
        """
        if outputs is None or self._label is None:
            return shard
        if self._known is None or self._known[0] is not shard or self._known[1] != outputs:
            if not isinstance(shard, Shard):
                raise DataError(
                    "rows with a label that the model has no output for yet wait, and a streamed source is not looked "
                    "through for them: read it as a whole, or let all forms of Growth have all outputs"
                )
            mine = shard.columns("train")[self._label] < outputs
            self._known = shard, outputs, shard if bool(mine.all()) else shard.where(mine)
        return self._known[2]

    def labels(self, shard: Shard | StreamedShard) -> int:
        """One more than the largest label of the training rows; 0 if nobody can say."""
        if self._label is None or not isinstance(shard, Shard):
            return 0
        found = shard.columns("train")[self._label]
        return int(found.max()) + 1 if found.dtype != torch.bool and found.numel() else 0
