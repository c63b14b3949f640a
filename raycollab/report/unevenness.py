"""How unevenly a model serves the agents."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from raycollab.report.spread import SPLITS, latest_scores


def gini(values: Collection[float]) -> float:
    """Gini coefficient of values that are not negative: 0 where all are the same, (n - 1) / n where one has all.

    Half the mean difference of two values, over their mean.
    """
    total = sum(values)
    if total <= 0:
        return 0.0
    return sum(abs(one - other) for one, other in combinations(values, 2)) / (len(values) * total)


def unevenness(rows: Sequence[Mapping[str, object]], primary: tuple[str, bool], split: str = "val") -> str:
    """A line on the deviation and the Gini coefficient of the primary metric; empty for fewer than two agents.

    Args:
        rows: As for `spread`.
        primary: The task's primary metric, and whether higher is better.
        split: As for `spread`.
    """
    metric, _ = primary
    values = list(latest_scores(rows, f"{split}_{metric}").values())
    if len(values) < 2:
        return ""
    share = f", {gini(values):.4f} Gini" if min(values) >= 0 else ""
    return f"agents' {SPLITS[split][0]} {metric}  {statistics.pstdev(values):.4f} standard deviation{share}"
