"""What a run ends with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from raycollab.checkpoint import RunFolder
from raycollab.config import RunConfig
from raycollab.data import Source
from raycollab.deploy import TrainedModel, load_model
from raycollab.journal import Tables
from raycollab.metrics import Confusion, LabelCounts, Statistics
from raycollab.report import (
    SPLITS,
    classification_report,
    compared,
    comparison,
    forgetting_line,
    grown,
    left_out,
    modality_report,
    spread,
    unevenness,
)
from raycollab.stopping import Stopping
from raycollab.task import Adapts, Task


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
        private: Names of the parameters and buffers that were not exchanged, and so are at their initial values in the
            model.
        changes: A row for whatever an agent changed of itself in answer to its data, as in changes.parquet.
    """

    path: str
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    agents: Sequence[Mapping[str, Any]]
    statistics: Statistics
    primary: tuple[str, bool]
    stop_reason: str
    seconds: float
    private: Sequence[str] = ()
    changes: Sequence[Mapping[str, Any]] = ()

    @property
    def num_rounds(self) -> int:
        """Rounds that were committed."""
        return len(self.history)

    def model(
        self, task: Task | None = None, *, agent: str | None = None, trusted: tuple[str, ...] = ()
    ) -> TrainedModel:
        """Load the trained model, or that of one agent with its private part.

        Give the task if a script defined it, or trust the packages that its recipe names.
        """
        return load_model(self.path, task=task, agent=agent, trusted=trusted)

    def adapt(
        self,
        support: Source | Mapping[str, Tensor | np.ndarray],
        learner: Adapts | None = None,
        *,
        task: Task | None = None,
    ) -> TrainedModel:
        """The trained model, adapted to a new party's few examples: `TrainedModel.adapt` of `model(task)`."""
        return self.model(task).adapt(support, learner)

    def report(self) -> str:
        """The classification report on the shared set, or the metrics of other tasks; then how far agents are apart."""
        return full_report(self.statistics, self.agents, self.primary, self.history, self.changes)

    def comparison(self, alone: "Result | None" = None) -> str:
        """Each agent by the common model, by one of its own, and alone; the worst of each is named.

        Args:
            alone: Of `local_only` of the same experiment; None leaves that column empty.
        """
        private = bool(self.private)
        sides = compared(self.agents, alone.agents if alone else (), self.primary, private=private)
        return comparison(sides, self.primary)

    @property
    def checkpoint(self) -> str:
        """Path of the newest checkpoint."""
        folder = RunFolder.open(self.path)
        return folder.agents_of(self.history[-1]["round"]).uri.removesuffix("/agents")


def ended_result(folder: RunFolder, run: RunConfig, task: Task) -> Result | None:
    """The result of a run that has ended and is wholly written; None if something is left to do.

    Args:
        folder: Its folder.
        run: When it is to end, which may have changed since.
        task: What was learned.
    """
    if not folder.storage.exists("result.json") or not folder.storage.exists("model/model.safetensors"):
        return None
    summary, found = folder.read_json("result.json"), folder.latest_checkpoint()
    if found is None or found[0] != summary["rounds"]:  # it went on since, or its newest checkpoint is damaged
        return None
    index, state = found
    statistics = Statistics.from_plain(state["statistics"])
    stopping = Stopping(run, task.primary)
    stopping.load_state_dict(state["stopping"])
    reason = stopping.reason(index, statistics.compute())
    if not reason:
        return None
    if reason != summary["stop_reason"]:
        folder.write_json("result.json", {**summary, "stop_reason": reason})
    tables = Tables.of([row for row in folder.rows() if row["round"] <= index])  # later ones were never made durable
    return Result(
        folder.path,
        summary["metrics"],
        tables.rounds,
        tables.agents,
        statistics,
        task.primary,
        reason,
        summary["seconds"],
        json.loads(folder.read_text("model/config.json")).get("private", ()),
        tables.changes,
    )


def full_report(
    statistics: Statistics,
    agents: Sequence[Mapping[str, Any]],
    primary: tuple[str, bool],
    history: Sequence[Mapping[str, Any]] = (),
    changes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Text on the shared set, what was forgotten, the worst and the best agent on its own data, and rows left out."""
    lines = [line for split in SPLITS for each in (spread, unevenness) if (line := each(agents, primary, split))]
    lines += [line] if (line := forgetting_line(history, primary)) else []
    lines += grown(changes)
    lines += [line] if (line := left_out(agents)) else []
    modalities = modality_report(statistics, agents)
    more = [*([modalities, ""] if modalities else []), *lines]
    return "\n".join([statistics_report(statistics), *(["", *more] if more else [])]).rstrip("\n")


def statistics_report(statistics: Statistics) -> str:
    """Text on statistics: the classification report where classes or labels were counted, then the metrics."""
    counts, metrics = statistics.get("confusion") or statistics.get("labels"), statistics.compute()
    if isinstance(counts, Confusion):
        metrics.pop("accuracy", None)  # the report has it
    lines = "\n".join(f"{name:>20}  {value:.4f}" for name, value in metrics.items())
    return f"{classification_report(counts)}\n{lines}" if isinstance(counts, Confusion | LabelCounts) else lines
