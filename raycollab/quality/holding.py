"""What an agent holds, counted where it is."""

from dataclasses import dataclass

from raycollab.data import Source
from raycollab.errors import DataError
from raycollab.quality.examination import count_labels
from raycollab.task import Task


@dataclass(frozen=True)
class Holding:
    """Counts only.

    Args:
        agent: Whose they are.
        examples: Rows that are stored, whether they can be used or not.
        labels: Rows of each label; empty for tasks without labels.
        error: Why they cannot be counted; empty if they can.
    """

    agent: str
    examples: int = 0
    labels: tuple[int, ...] = ()
    error: str = ""


def look(agent: str, source: Source, task: Task) -> Holding:
    """Count a shard's rows by label, and read as little else as its source allows; what goes wrong is said."""
    label = getattr(task, "label", None)
    try:
        columns = source.keys((label,) if isinstance(label, str) else ())
    except DataError as error:
        return Holding(agent, error=str(error))
    return Holding(agent, len(next(iter(columns.values()))), count_labels(columns, task))
