"""What an agent holds, counted where it is."""

from dataclasses import dataclass

from raycollab.data import Source
from raycollab.errors import DataError
from raycollab.labels import NO_LABELS, Labels
from raycollab.task import Task


@dataclass(frozen=True)
class Holding:
    """Counts only.

    Args:
        agent: Whose they are.
        examples: Rows that are stored, whether they can be used or not.
        labels: How many there are of each label, as the task counts them.
        error: Why they cannot be counted; empty if they can.
    """

    agent: str
    examples: int = 0
    labels: Labels = NO_LABELS
    error: str = ""


def look(agent: str, source: Source, task: Task) -> Holding:
    """Count a shard's rows and its labels, and read as little else as its source allows; what goes wrong is said.

    Labels that stand in no column of their own, such as one for each word of a text, take reading the whole source.
    """
    label, tolerant = getattr(task, "label", None), source.tolerant()
    try:
        columns = tolerant.keys((label,) if isinstance(label, str) else ())
        labelled = columns if not isinstance(label, str) or label in columns else tolerant.open().columns
    except DataError as error:
        return Holding(agent, error=str(error))
    return Holding(agent, len(next(iter(columns.values()))), task.count_labels(labelled))
