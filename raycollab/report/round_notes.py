"""What is to be said of a round that cost no agent anything."""

from collections.abc import Sequence

from raycollab.report.changes import changed
from raycollab.report.contributions import contribution_notes
from raycollab.report.failures import rejoined
from raycollab.types import AgentReport


def round_notes(reports: Sequence[AgentReport], index: int) -> list[str]:
    """Lines on agents that lost their memory, that changed themselves, and that add little or copy.

    Args:
        reports: Of its agents, with what the rule has told of each.
        index: The round.
    """
    return [*rejoined(reports), *changed(reports), *contribution_notes(reports, index)]
