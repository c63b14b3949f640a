"""What the journal says of a round."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

from raycollab.checkpoint import RunFolder
from raycollab.errors import RunFolderError
from raycollab.types import EPSILON, PARTY_EPSILON, RoundReport

_WORTHS = ("contribution", "standing", "alike")


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


@dataclass(frozen=True)
class Tables:
    """A run as tables: a row per round, one per agent and round, and one for whatever an agent changed of itself."""

    rounds: list[dict[str, Any]]
    agents: list[dict[str, Any]]
    changes: list[dict[str, Any]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "Tables":
        """Those that the journal's rows make."""
        inner = ("agent_rows", "change_rows")
        rounds = [{name: value for name, value in row.items() if name not in inner} for row in rows]
        agents, changes = ([each for row in rows for each in row.get(name, ())] for name in inner)
        return cls(rounds, agents, changes)


def journal_row(report: RoundReport) -> dict[str, Any]:
    """A round as plain data: the row of rounds.parquet, with those of the other tables inside."""
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
            **{name: value for name in (EPSILON, PARTY_EPSILON, *_WORTHS) if not isnan(value := getattr(agent, name))},
            **({} if isnan(agent.drift) else {"drift": agent.drift}),
            **({"form": agent.form} if agent.form else {}),
            **({"rejected": agent.rejected} if agent.rejected else {}),
            **{f"val_{name}": value for name, value in report.own_metrics.get(agent.agent, {}).items()},
            **{f"test_{name}": value for name, value in report.own_test.get(agent.agent, {}).items()},
            **{f"personal_val_{name}": value for name, value in report.personal_metrics.get(agent.agent, {}).items()},
            **{f"personal_test_{name}": value for name, value in report.personal_test.get(agent.agent, {}).items()},
        }
        for agent in report.agents
    ]
    rows = [
        {"agent": f.agent, "round": report.index, "failure": f"{f.error}: {f.message}", "decision": f.decision}
        for f in (*report.retried, *report.failures)
    ]
    changed = [("", change) for change in report.changes]  # of the common model
    changed += [(agent.agent, change) for agent in report.agents for change in agent.changes]
    changes = [{"round": report.index, "agent": agent, **asdict(change)} for agent, change in changed]
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
        **report.told,
        "notes": "; ".join(report.notes),
        "stop_reason": report.stop_reason,
        "agent_rows": agents + rows,
        **({"change_rows": changes} if changes else {}),
    }
