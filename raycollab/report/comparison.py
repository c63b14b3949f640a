"""Each agent by the common model, by one of its own, and by what it learns alone, side by side."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

_PERSONAL = "personal_"
_SIDES = ("common", "personal", "alone")
_MAX_NAME = 24
_MOST_NAMED = 8


@dataclass(frozen=True)
class Compared:
    """What an agent scores on its own data; nan for what there is not.

    Args:
        agent: Its name.
        common: By the common model.
        personal: By the model of its own: of a personal learner, or the common one with its private part.
        alone: By what it learned without the others.
    """

    agent: str
    common: float
    personal: float
    alone: float


def compared(
    rows: Sequence[Mapping[str, object]],
    alone: Sequence[Mapping[str, object]],
    primary: tuple[str, bool],
    *,
    private: bool = False,
) -> list[Compared]:
    """The last scores of each agent by the primary metric: on its own test set, or on its validation rows.

    Args:
        rows: Of a run's agents.parquet.
        alone: Of the agents.parquet of the run in which nothing was exchanged; empty if there is none.
        primary: The task's primary metric, and whether higher is better.
        private: Whether parameters are not exchanged: then the agents' scores are by models of their own, as the common
            one lacks what they have.
    Returns: In the order of the rows; on test sets only if every agent that has scores has one.
    """
    newest = _newest(rows)
    by_test = bool(newest) and all(f"test_{primary[0]}" in scores for scores in newest.values())
    metric = f"{'test' if by_test else 'val'}_{primary[0]}"
    without = _newest(alone)
    found = []
    for agent, scores in newest.items():
        common, personal = scores.get(metric, math.nan), scores.get(_PERSONAL + metric, math.nan)
        if private:
            common, personal = math.nan, common if math.isnan(personal) else personal
        alone_score = without.get(agent, {}).get(_PERSONAL + metric, math.nan)
        found.append(Compared(agent, common, personal, alone_score))
    return found


def comparison(agents: Sequence[Compared], primary: tuple[str, bool]) -> str:
    """A table with a line per agent, then the median and the worst agent of each column; empty for no agents."""
    if not agents:
        return ""
    metric, higher_is_better = primary
    width = min(max(len("median"), *(len(each.agent) for each in agents)), _MAX_NAME)
    lines = [f"own {metric}".ljust(width) + "".join(f"{side:>10}" for side in _SIDES)]
    lines += [_line(each.agent, [getattr(each, side) for side in _SIDES], width) for each in agents]
    columns = {side: {each.agent: getattr(each, side) for each in agents} for side in _SIDES}
    known = {side: {a: v for a, v in column.items() if not math.isnan(v)} for side, column in columns.items()}
    medians = [statistics.median(column.values()) if column else math.nan for column in known.values()]
    lines += ["", _line("median", medians, width)]
    for side, column in known.items():
        if column:
            worst = min(column, key=lambda agent: column[agent] if higher_is_better else -column[agent])
            lines.append(f"worst {side:<9} {column[worst]:.4f} ({worst})")
    return "\n".join([*lines, *_gains(agents, higher_is_better)])


def _gains(agents: Sequence[Compared], higher_is_better: bool) -> list[str]:
    """How many agents are better off with the others than alone."""
    sign = 1.0 if higher_is_better else -1.0
    pairs = [
        (sign * (each.common if math.isnan(each.personal) else each.personal), sign * each.alone) for each in agents
    ]
    known = [(joined, alone) for joined, alone in pairs if not (math.isnan(joined) or math.isnan(alone))]
    if not known:
        return []
    better = sum(joined > alone for joined, alone in known)
    worse = sum(joined < alone for joined, alone in known)
    line = f"{better} of {len(known)} agents are better off than alone, {worse} worse"
    return [line, *_worse(agents, pairs)] if worse else [line]


def _worse(agents: Sequence[Compared], pairs: Sequence[tuple[float, float]]) -> list[str]:
    """A line that names those that are worse off than alone, with how much they lose."""
    losses = [(alone - joined, each.agent) for each, (joined, alone) in zip(agents, pairs, strict=True)]
    lost = sorted(((loss, agent) for loss, agent in losses if loss > 0), reverse=True)
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    return ["better off alone: " + ", ".join(f"{agent} (by {loss:.4f})" for loss, agent in lost[:_MOST_NAMED]) + more]


def _newest(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """The last value of each score, by agent."""
    newest: dict[str, dict[str, float]] = {}
    for row in rows:
        scores = {
            name: float(value)
            for name, value in row.items()
            if name.removeprefix(_PERSONAL).startswith(("val_", "test_"))
            and isinstance(value, Real)
            and not math.isnan(float(value))
        }
        if scores:
            newest.setdefault(str(row["agent"]), {}).update(scores)
    return newest


def _line(name: str, values: Sequence[float], width: int) -> str:
    shown = name if len(name) <= width else f"{name[: width - 1]}…"
    return shown.ljust(width) + "".join(f"{'-' if math.isnan(value) else format(value, '.4f'):>10}" for value in values)
