"""Who adds next to nothing, and who sends what another sends: what a rule that weighs contributions has found."""

import math
import statistics
from collections.abc import Sequence

from raycollab.types import AgentReport

_ALIKE = 0.999  # honest deltas of one model differ by far more, also where data is alike
_LITTLE = 0.1  # of the median standing
_FEWEST_ROUNDS = 3  # before anybody is named for little


def contribution_notes(reports: Sequence[AgentReport], index: int) -> list[str]:
    """A line on copies in this round, and on each agent whose standing is far below the others'.

    Args:
        reports: Of a round's agents.
        index: The round.
    """
    return [*_copies(reports), *(_idle(reports) if index >= _FEWEST_ROUNDS else ())]


def _copies(reports: Sequence[AgentReport]) -> list[str]:
    names = [report.agent for report in reports if report.alike >= _ALIKE]
    if not names:
        return []
    return [f"{', '.join(names)} sent updates like each other's (cosine >= {_ALIKE}): copies count once too often"]


def _idle(reports: Sequence[AgentReport]) -> list[str]:
    known = [report for report in reports if not math.isnan(report.standing)]
    if len(known) < 2:
        return []
    median = statistics.median(report.standing for report in known)
    return [
        f"{report.agent} adds little: {report.standing:.3g} a round where half of the agents add {median:.3g} and "
        f"more: a free rider, or its data is of no use to the others"
        for report in known
        if report.standing < _LITTLE * median
    ]
