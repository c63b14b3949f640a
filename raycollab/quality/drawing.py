"""Who holds what, drawn: in the terminal, and as a picture."""

import io
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycollab.labels import EXAMPLES
from raycollab.quality.holding import Holding

_MOST_COLUMNS = 12  # labels that get one each; more are drawn as shades
_MOST_ROWS = 60
_MOST_COLORS = 20
_BAR = 12
_SHADES = " ░▒▓█"


def terminal(holdings: Sequence[Holding]) -> RenderableType:
    """A line an agent: its rows, a bar of them, and how many it has of each label; shades if there are many labels."""
    shown, known = holdings[:_MOST_ROWS], _labels(holdings)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("agent", no_wrap=True)
    table.add_column("examples", justify="right")
    table.add_column("", no_wrap=True)
    names = [str(label) for label in known] if len(known) <= _MOST_COLUMNS else []
    for name in names:
        table.add_column(name, justify="right")
    if len(known) > _MOST_COLUMNS:
        table.add_column(f"labels {known[0]} to {known[-1]}, none to most of the agent's", no_wrap=True)
    most = max(each.examples for each in holdings) or 1
    for each in shown:
        bar = "█" * max(round(_BAR * each.examples / most), 1 if each.examples else 0)
        held = [each.labels.count(label) for label in known]
        counts = [f"{count:,}" if count else "·" for count in held] if names else [_shades(held)]
        table.add_row(Text(each.agent), f"{each.examples:,}", bar, *(counts if known else []))
    total, of = sum(each.examples for each in holdings), _of(holdings)
    by_label = "" if of == EXAMPLES else f"; by label: {of}"
    lines = [Text(f"{len(holdings)} agents, {total:,} examples{by_label}")]
    if len(holdings) > len(shown):
        lines.insert(0, Text(f"... and {len(holdings) - len(shown):,} more"))
    lines += [Text(f"{each.agent}: {each.error}") for each in holdings if each.error]
    return Group(table, *lines)


def _labels(holdings: Sequence[Holding]) -> range:
    """The numbers of all labels that the agents' tasks know."""
    held = [each.labels for each in holdings if each.labels.counts]
    if not held:
        return range(0)
    return range(min(each.first for each in held), max(each.first + len(each.counts) for each in held))


def _of(holdings: Sequence[Holding]) -> str:
    """What has labels, "labels" if that is not the same for all."""
    held = {each.labels.of for each in holdings if each.labels.counts} or {EXAMPLES}
    return next(iter(held)) if len(held) == 1 else "labels"


def _shades(counts: Sequence[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(_SHADES[-(-(len(_SHADES) - 1) * count // most)] for count in counts)


def picture(holdings: Sequence[Holding]) -> bytes:
    """The same as a PNG: a bar an agent in the colours of its labels, or shades if there are more than 20 labels."""
    figures: Any = import_module("matplotlib.figure")  # half a second that the terminal need not pay
    known = _labels(holdings)
    height = 1.4 + 0.28 * max(len(holdings), 4)
    figure = figures.Figure(figsize=(9, min(height, 40)), layout="constrained", dpi=120)
    axes = figure.subplots()
    names = [each.agent for each in holdings]
    if len(known) > _MOST_COLORS:
        _draw_shades(figure, axes, holdings, known)
    else:
        _draw_bars(axes, holdings, known)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(f"{len(holdings)} agents, {sum(each.examples for each in holdings):,} examples", loc="left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_bars(axes: Any, holdings: Sequence[Holding], known: range) -> None:
    colors: Any = import_module("matplotlib").colormaps["tab10" if len(known) <= 10 else "tab20"].colors
    starts = [0] * len(holdings)
    for place, label in enumerate(known):
        counts = [each.labels.count(label) for each in holdings]
        axes.barh(range(len(holdings)), counts, left=starts, color=colors[place], label=str(label))
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
    rest = [
        each.examples - start if each.labels.of == EXAMPLES else 0 for each, start in zip(holdings, starts, strict=True)
    ]
    if any(rest):
        axes.barh(range(len(holdings)), rest, left=starts, color="#bbbbbb", label="no label" if known else None)
    axes.invert_yaxis()
    axes.set_xlabel(_of(holdings))
    axes.spines[["top", "right"]].set_visible(False)
    if known:
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _draw_shades(figure: Any, axes: Any, holdings: Sequence[Holding], known: range) -> None:
    rows = [[each.labels.count(label) for label in known] for each in holdings]
    ends = (known[0] - 0.5, known[-1] + 0.5, len(rows) - 0.5, -0.5)
    drawn = axes.imshow(rows, aspect="auto", cmap="Blues", interpolation="nearest", extent=ends)
    axes.set_xlabel("label")
    figure.colorbar(drawn, ax=axes, label=_of(holdings))
