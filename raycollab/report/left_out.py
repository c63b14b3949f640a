"""The rows that agents hold and could not use."""

from collections.abc import Mapping, Sequence
from typing import Any

_MAX_NAMES = 5


def left_out(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line on how many rows were left out, and whose they are; empty where there are none.

    Args:
        rows: A row per agent and round: agent, rejected. The largest value of each counts: streams find their bad rows
            one after another, and what a stream found is not known where its agent goes on in another process.
    """
    most: dict[str, int] = {}
    for row in rows:
        most[row["agent"]] = max(most.get(row["agent"], 0), row.get("rejected") or 0)
    some = sorted((name for name in most if most[name]), key=lambda name: -most[name])
    if not some:
        return ""
    named = ", ".join(f"{name} {most[name]:,}" for name in some[:_MAX_NAMES])
    more = f", and {len(some) - _MAX_NAMES} more agents" if len(some) > _MAX_NAMES else ""
    return f"rows that cannot be used, left out: {sum(most.values()):,} ({named}{more})"
