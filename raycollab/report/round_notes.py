"""What is to be said of a round that cost no agent anything."""

from collections.abc import Mapping, Sequence

from raycollab.report.changes import changed
from raycollab.report.contributions import contribution_notes
from raycollab.report.failures import rejoined
from raycollab.types import KEPT, AgentReport


def round_notes(reports: Sequence[AgentReport], index: int, told: Mapping[str, float] | None = None) -> list[str]:
    """Lines on agents that lost their memory, that changed themselves, and that add little or copy; and on pruning.

    Args:
        reports: Of its agents, with what the rule has told of each.
        index: The round.
        told: Scalars of what the round was merged into.
    """
    kept = (told or {}).get(KEPT)
    pruned = [] if kept is None else [f"pruned: {kept:.1%} of the elements that can be are kept"]
    return [*rejoined(reports), *changed(reports), *contribution_notes(reports, index), *pruned]
