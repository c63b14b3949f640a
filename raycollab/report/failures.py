"""Failures as a person reads them."""

import re
from collections.abc import Sequence

from raycollab.errors import DataError, RaycollabError, ResourceError, TaskMismatchError
from raycollab.types import AgentReport, Failure

_MAX_LINES = 3


def start_error(failures: Sequence[Failure], num_agents: int) -> RaycollabError:
    """The error of a run in which some of the agents could not start, of the kind that most calls for a remedy."""
    found = {failure.error for failure in failures}
    kind = next((kind for kind in (TaskMismatchError, ResourceError) if kind.__name__ in found), DataError)
    return kind(f"{len(failures)} of {num_agents} agents could not start:\n{listed(failures)}")


def listed(failures: Sequence[Failure]) -> str:
    """A line on each failure; of many, the first of each of three kinds, numbers and agents' names apart."""
    if len(failures) <= _MAX_LINES:
        return "\n".join(f"  {failure.agent}: {failure.message}" for failure in failures)
    kinds: dict[str, list[Failure]] = {}
    for failure in failures:
        kinds.setdefault(re.sub(r"\d+", "0", failure.message.replace(failure.agent, "")), []).append(failure)
    shown = list(kinds.values())[:_MAX_LINES]
    lines = [
        f"  {alike[0].agent}: {alike[0].message}" + (f" ({len(alike) - 1:,} more like this)" if len(alike) > 1 else "")
        for alike in shown
    ]
    others = len(failures) - sum(map(len, shown))
    return "\n".join([*lines, *([f"  ... and {others:,} others"] if others else [])])


def rejoined(reports: Sequence[AgentReport]) -> list[str]:
    """A line on each agent that had lost what it remembered of its last round."""
    then = "went on from an older one or none: from here on the bits are no longer those of an undisturbed run"
    return [f"{report.agent} lost the memory of its last round and {then}" for report in reports if report.fresh]


def first(failures: Sequence[Failure]) -> str:
    """The first failure in a few words."""
    return f"agent {failures[0].agent!r}: {failures[0].message}" if failures else "nobody failed"
