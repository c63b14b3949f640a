"""How far the agents are apart, each on its own validation rows or its own test set."""

import math
import statistics
from collections.abc import Mapping, Sequence
from numbers import Real

SPLITS = {
    "val": ("own", "that validate"),
    "test": ("own test", "with a test set"),
    "personal_val": ("own models'", "that validate one"),
    "personal_test": ("own models' test", "with one and a test set"),
}


def spread(rows: Sequence[Mapping[str, object]], primary: tuple[str, bool], split: str = "val") -> str:
    """A line on the median, the worst and the best agent by the primary metric; empty where nobody has it.

    Args:
        rows: A row per agent and round, or per agent, in their order: agent, val_METRIC or test_METRIC. The last value
            of each counts.
        primary: The task's primary metric, and whether higher is better.
        split: "val", their validation rows, or "test", the test sets of those that have one; with "personal_" before it
            the models of their own on them.
    """
    metric, higher_is_better = primary
    latest = latest_scores(rows, f"{split}_{metric}")
    if not latest:
        return ""
    ordered = sorted(latest, key=lambda agent: latest[agent], reverse=higher_is_better)
    best, worst = ordered[0], ordered[-1]
    own, who = SPLITS[split]
    if len(ordered) == 1:
        return f"agents' {own} {metric}  {latest[best]:.4f} ({best})"
    return (
        f"agents' {own} {metric}  {statistics.median(latest.values()):.4f} median, "
        f"{latest[worst]:.4f} worst ({worst}), "
        f"{latest[best]:.4f} best ({best}), of {len(latest):,} {who}"
    )


def latest_scores(rows: Sequence[Mapping[str, object]], column: str) -> dict[str, float]:
    """The last value of a column by agent, of those that have one."""
    latest: dict[str, float] = {}
    for row in rows:
        value = row.get(column)
        if isinstance(value, Real) and not math.isnan(float(value)):
            latest[str(row["agent"])] = float(value)
    return latest
