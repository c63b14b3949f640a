"""What a model knows by each subset of its modalities, and what each of them adds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from numbers import Real

from raycollab.metrics import Average, Confusion, Statistics
from raycollab.metrics.subsets import Subset, subset_of, subsets

SHARED = "shared test set"
_MOST_AGENTS = 20


@dataclass(frozen=True)
class ModalityGrid:
    """Accuracy by subset of the modalities.

    Args:
        rows: By whose data it is: that of the shared test set first, then of each agent; a subset that an agent does
            not hold is not there.
    """

    rows: Mapping[str, Mapping[Subset, float]]

    @property
    def subsets(self) -> list[Subset]:
        """All subsets that anybody has, small ones first."""
        found = {subset for row in self.rows.values() for subset in row}
        return sorted(found, key=lambda subset: (len(subset), subset))

    def table(self) -> str:
        """A line for each row, a column for each subset."""
        names = ["+".join(subset) for subset in self.subsets]
        width = max(map(len, self.rows))
        lines = ["  ".join([f"{'accuracy with':<{width}}", *names])]
        for who, row in list(self.rows.items())[: _MOST_AGENTS + 1]:
            cells = [f"{row[subset]:.4f}" if subset in row else "-" for subset in self.subsets]
            padded = [f"{cell:>{len(name)}}" for cell, name in zip(cells, names, strict=True)]
            lines.append("  ".join([f"{who:<{width}}", *padded]))
        more = len(self.rows) - _MOST_AGENTS - 1
        return "\n".join([*lines, *([f"... and {more:,} more agents, in agents.parquet"] if more > 0 else [])])


def modality_grid(statistics: Statistics, agents: Iterable[Mapping[str, object]]) -> ModalityGrid | None:
    """Every subset of the modalities by every agent; None for a task without modalities.

    Args:
        statistics: On the shared test set.
        agents: A row per agent and round, in their order; the last scores of each count, on its own test set if it has
            one, else on its validation rows.
    """
    shared = {subset: value for name, value in statistics.compute().items() if (subset := subset_of(name))}
    if not shared:
        return None
    rows: dict[str, dict[Subset, float]] = {SHARED: shared}
    for row in agents:
        for split in ("val_", "test_"):
            if scores := _scores(row, split):
                rows.setdefault(str(row["agent"]), {}).update(scores)
    return ModalityGrid(rows)


def _scores(row: Mapping[str, object], split: str) -> dict[Subset, float]:
    """An agent's scores by subset, of those that it has."""
    own = {name.removeprefix(split): value for name, value in row.items() if name.startswith(split)}
    known = {name: float(value) for name, value in own.items() if isinstance(value, Real)}
    return {subset: v for name, v in known.items() if (subset := subset_of(name)) and not math.isnan(v)}


@dataclass(frozen=True)
class ModalityValues:
    """What each modality adds to the accuracy: its Shapley value over the subset grid.

    Args:
        values: By modality; with `nothing` they sum to `whole`.
        nothing: Accuracy of who knows nothing and says the most frequent class.
        whole: With all modalities.
    """

    values: Mapping[str, float]
    nothing: float
    whole: float

    def __str__(self) -> str:
        parts = " + ".join(f"{name} {value:.4f}" for name, value in self.values.items())
        start = f"{self.nothing:.4f} of the most frequent class"
        return f"what each modality adds to the accuracy: {start} + {parts} = {self.whole:.4f}"


def shapley(values: Mapping[Subset, float], nothing: float) -> dict[str, float]:
    """The Shapley value of each modality, exactly; they sum to what all have together less `nothing`.

    Args:
        values: Of every subset but the empty one.
        nothing: Of the empty one.
    Source: Shapley, 1953, A value for n-person games.
    """
    names = max(values, key=len)
    known = {(): nothing, **values}

    def added(name: str) -> float:
        others = [other for other in names if other != name]
        coalitions = [(), *subsets(others)]
        gains = {s: known[tuple(sorted((*s, name)))] - known[s] for s in coalitions}
        return sum(gain / (len(names) * comb(len(others), len(s))) for s, gain in gains.items())

    return {name: added(name) for name in names}


def added_by_modality(statistics: Statistics) -> ModalityValues | None:
    """What each modality adds on a set; None where it has none, or one alone, or not every subset was scored.

    Rows without any modality of a subset count as those of who knows nothing.
    """
    counts = statistics.get("confusion")
    found = {s: part for name, part in statistics.parts if (s := subset_of(name)) and isinstance(part, Average)}
    names = max(found, key=len, default=())
    whole = set(subsets(names))
    if len(names) < 2 or set(found) != whole or not isinstance(counts, Confusion) or not counts.matrix.sum():
        return None
    total = float(counts.matrix.sum())
    nothing = float(counts.matrix.sum(1).max()) / total
    values = {s: (part.total + nothing * (total - part.weight)) / total for s, part in found.items()}
    return ModalityValues(shapley(values, nothing), nothing, values[names])


def modality_report(statistics: Statistics, agents: Sequence[Mapping[str, object]]) -> str:
    """The grid and a line on what each modality adds; empty for a task without several modalities."""
    added, grid = added_by_modality(statistics), modality_grid(statistics, agents)
    return f"{grid.table()}\n\n{added}" if added and grid else ""
