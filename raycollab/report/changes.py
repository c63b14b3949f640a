"""What agents changed of themselves, and what became of the common model, as a person reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from raycollab.types import AgentReport

_MAX_NAMES = 3


def changed(reports: Sequence[AgentReport]) -> list[str]:
    """A line for each kind of change of a round: which agents, and why the first of them."""
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for report in reports:
        for change in report.changes:
            kinds.setdefault((change.action, change.outcome), []).append((report.agent, change.cause))
    lines = []
    for (action, outcome), agents in kinds.items():
        names = ", ".join(name for name, _ in agents[:_MAX_NAMES])
        more = f" and {len(agents) - _MAX_NAMES} more" if len(agents) > _MAX_NAMES else ""
        lines.append(f"{names}{more}: {action} {outcome}: {agents[0][1]}")
    return lines


def grown(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each step of a model that grows, from the rows of changes.parquet."""
    return [
        f"after round {row['round']}, {row['action']} {row['outcome']}: {row['cause']}: {row['detail']}"
        for row in changes
        if not row["agent"]
    ]
