"""A sweep's trials as a table, and as lines across a picture."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from raycollab.result import Result

UPDATES, EXAMPLES = "agent_updates", "examples"  # what training costs
_MOST = 20  # trials in the table
_WIDEST = 40  # letters of a setting


def cost(agents: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What rows of agents.parquet say that rounds have cost: updates, and the examples in them, each pass anew."""
    arrived = [row for row in agents if not row["failure"]]
    return {UPDATES: len(arrived), EXAMPLES: sum(row["examples"] for row in arrived)}


def outcome(name: str, result: Result) -> str:
    """What a run has reached on the test set, and at what cost, in a line."""
    spent = cost(result.agents)
    told = ", ".join(f"{metric} {value:.4f}" for metric, value in result.metrics.items())
    rounds = f"{result.num_rounds} rounds, {spent[UPDATES]:,} updates of agents on {spent[EXAMPLES]:,} examples"
    return f"{name} on the test set, after {rounds}: {told}"


def table(rows: Sequence[Mapping[str, Any]], metric: str, shares: Mapping[str, float]) -> str:
    """Trials, best first, a line each with what it cost; then what all of them cost, and the best one's shares."""
    paths = list(rows[0]["settings"])
    head = [metric, "rounds", "updates", "examples", "seconds", *paths, ""]
    lines = [head, *([_number(row[metric]), str(row["rounds"]), f"{row[UPDATES]:,}", f"{row[EXAMPLES]:,}",
              f"{row['seconds']:.1f}", *(_short(row["settings"][path]) for path in paths), row["error"]]
              for row in rows[:_MOST])]  # fmt: skip
    widths = [max(len(line[place]) for line in lines) for place in range(len(head) - 1)]
    shown = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    ]
    updates, examples = sum(row[UPDATES] for row in rows), sum(row[EXAMPLES] for row in rows)
    seconds, failed = sum(row["seconds"] for row in rows), sum(bool(row["error"]) for row in rows)
    spent = (
        f"{len(rows)} trials, {failed} of them failed: {updates:,} updates of agents on {examples:,} examples, "
        f"{seconds:.0f} s of trials"
    )
    largest = sorted(shares, key=lambda name: -shares[name])[:_MOST]
    more = f" and {len(shares) - _MOST} more" if len(shares) > _MOST else ""
    told = ", ".join(f"{name} {shares[name]:.3g}" for name in largest) + more
    return "\n".join([*shown, spent, *([f"shares of the weight in the best one's last round: {told}"] if told else [])])


def draw(rows: Sequence[Mapping[str, Any]], metric: str, path: Path) -> None:
    """Parallel coordinates: an axis a setting, a line a trial, coloured by the metric; failed trials are left out."""
    matplotlib = import_module("matplotlib")
    figures = import_module("matplotlib.figure")
    good = [row for row in rows if row[metric] is not None]
    axes = [*good[0]["settings"], metric]
    figure = figures.Figure(figsize=(2.2 * len(axes) + 1, 4), layout="constrained")
    plot = figure.add_subplot()
    columns = [_heights([row[metric] if name == metric else row["settings"][name] for row in good]) for name in axes]
    colours = matplotlib.colormaps["viridis"]
    for place in range(len(good)):
        heights = [column[place] for column in columns]
        plot.plot(range(len(axes)), heights, color=colours(heights[-1]), linewidth=3 if place == 0 else 1)
    for place, name in enumerate(axes):
        values = [row[metric] if name == metric else row["settings"][name] for row in good]
        for height, value in {h: v for h, v in zip(columns[place], values, strict=True)}.items():
            plot.annotate(_short(value, 14), (place, height), fontsize=7)
    plot.set_xticks(range(len(axes)), axes, fontsize=8)
    plot.set_yticks([])
    plot.set_title(f"{len(good)} trials; the thick line is the best by {metric}", fontsize=9)
    figure.savefig(path, dpi=120)


def draw_weights(rounds: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Each agent's share of the weight, by round: a line an agent, with gaps where it sent nothing."""
    figures = import_module("matplotlib.figure")
    drawn = [shares(row["agent_rows"]) for row in rounds]
    figure = figures.Figure(figsize=(8, 4), layout="constrained")
    plot = figure.add_subplot()
    for name in sorted({name for row in drawn for name in row}):
        plot.plot([row["round"] for row in rounds], [row.get(name, math.nan) for row in drawn], ".-", label=name)
    plot.set_xlabel("round")
    plot.set_ylabel("share of the weight")
    plot.set_ylim(bottom=0)
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)


def shares(agents: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Weight by agent over the sum of a round's; of none if nobody has any."""
    arrived = {row["agent"]: row["weight"] for row in agents if not row["failure"]}
    total = sum(arrived.values())
    return {name: weight / total for name, weight in arrived.items()} if total else {}


def _heights(values: Sequence[Any]) -> list[float]:
    """Where values stand on an axis from 0 to 1: numbers by size, others by name."""
    if not all(isinstance(value, int | float) for value in values):
        names = sorted({_short(value) for value in values})
        values = [names.index(_short(value)) for value in values]
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _short(value: Any, longest: int = _WIDEST) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    if text.startswith('{"class_path"'):
        rule = json.loads(text)
        given = ", ".join(f"{name}={setting}" for name, setting in rule.get("init_args", {}).items() if setting)
        text = f"{rule['class_path'].rpartition('.')[2]}({given})"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
