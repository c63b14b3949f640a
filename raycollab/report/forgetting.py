"""How much was forgotten of each task of a sequence."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real


@dataclass(frozen=True)
class AccuracyMatrix:
    """A metric on every task of a sequence, after every evaluation.

    Args:
        rounds: When it was evaluated.
        tasks: Their names, in the order of the columns.
        values: By evaluation and task; nan where a task was not scored.
        higher_is_better: Of the metric.
    """

    rounds: tuple[int, ...]
    tasks: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    higher_is_better: bool = True

    @classmethod
    def of(cls, history: Sequence[Mapping[str, object]], primary: tuple[str, bool]) -> "AccuracyMatrix":
        """From the columns METRIC/TASK of a run's history; without any, it has no tasks."""
        metric, higher_is_better = primary
        prefix = f"{metric}/"
        names = [name for name in dict.fromkeys(key for row in history for key in row) if name.startswith(prefix)]
        rows = [row for row in history if any(isinstance(row.get(name), Real) for name in names)]
        values = tuple(tuple(_number(row.get(name)) for name in names) for row in rows)
        rounds = tuple(int(row["round"]) for row in rows)  # type: ignore[call-overload]
        return cls(rounds, tuple(name.removeprefix(prefix) for name in names), values, higher_is_better)

    def at(self, rounds: Sequence[int]) -> "AccuracyMatrix":
        """The rows of some rounds, such as the last one of each task."""
        kept = [place for place, round in enumerate(self.rounds) if round in rounds]
        values = tuple(self.values[place] for place in kept)
        return AccuracyMatrix(tuple(self.rounds[p] for p in kept), self.tasks, values, self.higher_is_better)

    @property
    def final(self) -> dict[str, float]:
        """Every task after the last evaluation."""
        return dict(zip(self.tasks, self.values[-1], strict=True)) if self.values else {}

    @property
    def forgetting(self) -> dict[str, float]:
        """How much worse each task is in the end than it was at best.

        Source: Chaudhry et al., ECCV 2018, arXiv 1801.10112, section 3; here of all tasks, the last one too.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        return {
            task: max((sign * value for value in column if not math.isnan(value)), default=math.nan) - sign * column[-1]
            for task, column in zip(self.tasks, zip(*self.values, strict=True), strict=True)
        }

    def __str__(self) -> str:
        width = max([8, *(len(task) for task in self.tasks)])
        lines = [f"{'round':>6} " + " ".join(f"{task:>{width}}" for task in self.tasks)]
        for round, row in zip(self.rounds, self.values, strict=True):
            lines.append(f"{round:>6} " + " ".join(f"{value:>{width}.4f}" for value in row))
        return "\n".join(lines)


def forgetting_line(history: Sequence[Mapping[str, object]], primary: tuple[str, bool]) -> str:
    """A line on what was forgotten; empty where tasks are not scored one by one."""
    forgotten = AccuracyMatrix.of(history, primary).forgetting
    known = {task: value for task, value in forgotten.items() if not math.isnan(value)}
    if not known:
        return ""
    worst = max(known, key=lambda task: known[task])
    mean = statistics.fmean(known.values())
    return f"forgetting  {mean:.4f} mean {primary[0]}, {known[worst]:.4f} worst ({worst}), of {len(known)} groups"


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan
