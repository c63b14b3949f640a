"""What the journal says of a round."""

from typing import Any

from raycollab.checkpoint import RunFolder
from raycollab.errors import RunFolderError
from raycollab.types import RoundReport


class Journal:
    """A line for each committed round; what cannot be written, as on a full disk, is written with the next one.

    Args:
        folder: Where the run is kept.
    """

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._unwritten: list[dict[str, Any]] = []

    def append(self, report: RoundReport) -> list[str]:
        """Write a round and what is left of earlier ones; returns what is to be said if that fails."""
        self._unwritten.append(journal_row(report))
        try:
            return self.flush()
        except RunFolderError as error:
            return [f"JOURNAL NOT WRITTEN: {len(self._unwritten)} rounds wait: {error}; the run goes on"]

    def flush(self) -> list[str]:
        """Write what is left; nothing is to be said then.

        Raises: RunFolderError if it cannot be written.
        """
        while self._unwritten:
            self._folder.append(self._unwritten[0])
            del self._unwritten[0]
        return []


def journal_row(report: RoundReport) -> dict[str, Any]:
    """A round as plain data: the row of rounds.parquet, with the rows of agents.parquet inside."""
    agents = [
        {
            "agent": agent.agent,
            "round": report.index,
            "examples": agent.examples,
            "loss": agent.loss,
            "seconds": agent.seconds,
            "bytes_sent": agent.num_bytes,
            "norm": agent.norm,
            "weight": agent.weight,
            "fresh": agent.fresh,
            "failure": "",
            "decision": "",
            **{f"val_{name}": value for name, value in report.own_metrics.get(agent.agent, {}).items()},
            **{f"test_{name}": value for name, value in report.own_test.get(agent.agent, {}).items()},
        }
        for agent in report.agents
    ]
    rows = [
        {"agent": f.agent, "round": report.index, "failure": f"{f.error}: {f.message}", "decision": f.decision}
        for f in (*report.retried, *report.failures)
    ]
    return {
        "round": report.index,
        "agents": len(report.agents),
        "failures": len(report.failures),
        "attempts": report.attempts,
        "train_loss": report.train_loss,
        "seconds": report.seconds,
        "bytes_up": report.bytes_up,
        "bytes_down": report.bytes_down,
        **report.metrics,
        "notes": "; ".join(report.notes),
        "stop_reason": report.stop_reason,
        "agent_rows": agents + rows,
    }
