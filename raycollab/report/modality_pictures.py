"""Modalities as pictures: what each subset of them knows, and who holds which."""

import io
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from raycollab.metrics import Statistics
from raycollab.report.modalities import SHARED, ModalityGrid, ModalityValues, added_by_modality, modality_grid

_MOST_ROWS = 60


def modality_pictures(statistics: Statistics, agents: Sequence[Mapping[str, object]]) -> dict[str, bytes]:
    """PNGs by the names of their files; none for a task without several modalities.

    Args:
        statistics: On the shared test set.
        agents: A row per agent and round.
    """
    grid, added = modality_grid(statistics, agents), added_by_modality(statistics)
    if grid is None or added is None:
        return {}
    return {"modalities.png": ablation(grid, added), "agents_by_modality.png": agent_map(grid)}


def ablation(grid: ModalityGrid, added: ModalityValues) -> bytes:
    """Accuracy of every subset on the shared test set, and from nothing to the whole by what each modality adds."""
    figure = _figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    shared = grid.rows[SHARED]
    held = [subset for subset in grid.subsets if subset in shared]
    left.barh(["+".join(subset) for subset in held], [shared[subset] for subset in held], color="#4878a8")
    left.axvline(added.nothing, color="#bb4444", linestyle="--", label="most frequent class")
    left.set_xlabel("accuracy on the shared test set")
    left.legend(fontsize=8, loc="lower right")
    start = added.nothing
    right.barh(["most frequent class"], [start], color="#bbbbbb")
    for name, value in added.values.items():
        right.barh([name], [value], left=start, color="#4878a8" if value >= 0 else "#bb4444")
        start += value
    right.barh(["all together"], [added.whole], color="#333333")
    right.set_xlabel("what each modality adds (Shapley value)")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def agent_map(grid: ModalityGrid) -> bytes:
    """Who holds which modalities, and how good the model is with them on their own data; grey is what they lack."""
    rows = list(grid.rows.items())[:_MOST_ROWS]
    figure = _figure(3.4 + 1.2 * len(grid.subsets), 1.4 + 0.32 * max(len(rows), 3))
    axes = figure.subplots()
    values = [[row.get(subset, math.nan) for subset in grid.subsets] for _, row in rows]
    colors = import_module("matplotlib").colormaps["viridis"].with_extremes(bad="#dddddd")
    drawn = axes.imshow(values, aspect="auto", cmap=colors, vmin=0, vmax=1, interpolation="nearest")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if not math.isnan(value):
                shade = "white" if value < 0.6 else "black"
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=shade)
    axes.set_xticks(range(len(grid.subsets)), ["+".join(subset) for subset in grid.subsets], fontsize=8)
    axes.set_yticks(range(len(rows)), [who for who, _ in rows], fontsize=8)
    figure.colorbar(drawn, ax=axes, label="accuracy")
    return _png(figure)


def _figure(width: float, height: float) -> Any:
    figures: Any = import_module("matplotlib.figure")  # half a second that other tasks need not pay
    return figures.Figure(figsize=(width, min(height, 40)), layout="constrained", dpi=120)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
