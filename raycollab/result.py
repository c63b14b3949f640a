"""What a run ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raycollab.checkpoint import RunFolder
from raycollab.deploy import TrainedModel, load_model
from raycollab.metrics import Confusion, Statistics
from raycollab.report import classification_report
from raycollab.task import Task


@dataclass(frozen=True)
class Result:
    """What a run ended with; the rest is in its folder.

    Args:
        path: The run folder.
        metrics: On the shared set, of the last evaluation.
        history: A row per round, as in rounds.parquet.
        agents: A row per agent and round, as in agents.parquet.
        statistics: What the metrics were computed from.
        primary: The task's primary metric, and whether higher is better.
        stop_reason: Why it ended.
        seconds: From the start of the run to its end.
    """

    path: str
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    agents: Sequence[Mapping[str, Any]]
    statistics: Statistics
    primary: tuple[str, bool]
    stop_reason: str
    seconds: float

    @property
    def num_rounds(self) -> int:
        """Rounds that were committed."""
        return len(self.history)

    def model(self, task: Task | None = None, *, trusted: tuple[str, ...] = ()) -> TrainedModel:
        """Load the trained model; give the task if a script defined it, or trust the packages that its recipe names."""
        return load_model(self.path, task=task, trusted=trusted)

    def report(self) -> str:
        """The classification report on the shared set, or the metrics if the task is another."""
        return statistics_report(self.statistics)

    @property
    def checkpoint(self) -> str:
        """Path of the newest checkpoint."""
        folder = RunFolder.open(self.path)
        return folder.agents_of(self.history[-1]["round"]).uri.removesuffix("/agents")


def statistics_report(statistics: Statistics) -> str:
    """Text on statistics: the classification report where there is a confusion matrix, then the metrics."""
    confusion = statistics.get("confusion")
    metrics = "\n".join(f"{name:>20}  {value:.4f}" for name, value in statistics.compute().items())
    return f"{classification_report(confusion)}\n{metrics}" if isinstance(confusion, Confusion) else metrics
