"""Who holds what, drawn: in the terminal, and as a picture."""

import io
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycollab.quality.holding import Holding

_MOST_COLUMNS = 12  # labels that get one each; more are drawn as shades
_MOST_ROWS = 60
_MOST_COLORS = 20
_BAR = 12
_SHADES = " ░▒▓█"


def terminal(holdings: Sequence[Holding]) -> RenderableType:
    """A line an agent: its rows, a bar of them, and how many it has of each label; shades if there are many labels."""
    shown, num_labels = holdings[:_MOST_ROWS], max(len(each.labels) for each in holdings)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("agent", no_wrap=True)
    table.add_column("examples", justify="right")
    table.add_column("", no_wrap=True)
    names = [str(label) for label in range(num_labels)] if num_labels <= _MOST_COLUMNS else []
    for name in names:
        table.add_column(name, justify="right")
    if num_labels > _MOST_COLUMNS:
        table.add_column(f"labels 0 to {num_labels - 1}, none to most of the agent's", no_wrap=True)
    most = max(each.examples for each in holdings) or 1
    for each in shown:
        bar = "█" * max(round(_BAR * each.examples / most), 1 if each.examples else 0)
        counts = [f"{count:,}" if count else "·" for count in each.labels] if names else [_shades(each.labels)]
        table.add_row(Text(each.agent), f"{each.examples:,}", bar, *(counts if num_labels else []))
    total = sum(each.examples for each in holdings)
    lines = [Text(f"{len(holdings)} agents, {total:,} examples")]
    if len(holdings) > len(shown):
        lines.insert(0, Text(f"... and {len(holdings) - len(shown):,} more"))
    lines += [Text(f"{each.agent}: {each.error}") for each in holdings if each.error]
    return Group(table, *lines)


def _shades(counts: Sequence[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(_SHADES[-(-(len(_SHADES) - 1) * count // most)] for count in counts)


def picture(holdings: Sequence[Holding]) -> bytes:
    """The same as a PNG: a bar an agent in the colours of its labels, or shades if there are more than 20 labels."""
    figures: Any = import_module("matplotlib.figure")  # half a second that the terminal need not pay
    num_labels = max(len(each.labels) for each in holdings)
    height = 1.4 + 0.28 * max(len(holdings), 4)
    figure = figures.Figure(figsize=(9, min(height, 40)), layout="constrained", dpi=120)
    axes = figure.subplots()
    names = [each.agent for each in holdings]
    if num_labels > _MOST_COLORS:
        _draw_shades(figure, axes, holdings, num_labels)
    else:
        _draw_bars(axes, holdings, num_labels)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(f"{len(holdings)} agents, {sum(each.examples for each in holdings):,} examples", loc="left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_bars(axes: Any, holdings: Sequence[Holding], num_labels: int) -> None:
    colors: Any = import_module("matplotlib").colormaps["tab10" if num_labels <= 10 else "tab20"].colors
    starts = [0] * len(holdings)
    for label in range(num_labels):
        counts = [each.labels[label] if each.labels else 0 for each in holdings]
        axes.barh(range(len(holdings)), counts, left=starts, color=colors[label], label=str(label))
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
    rest = [each.examples - start for each, start in zip(holdings, starts, strict=True)]
    if any(rest):
        axes.barh(range(len(holdings)), rest, left=starts, color="#bbbbbb", label="no label" if num_labels else None)
    axes.invert_yaxis()
    axes.set_xlabel("examples")
    axes.spines[["top", "right"]].set_visible(False)
    if num_labels:
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _draw_shades(figure: Any, axes: Any, holdings: Sequence[Holding], num_labels: int) -> None:
    rows = [each.labels or (0,) * num_labels for each in holdings]
    drawn = axes.imshow(rows, aspect="auto", cmap="Blues", interpolation="nearest")
    axes.set_xlabel("label")
    figure.colorbar(drawn, ax=axes, label="examples")
