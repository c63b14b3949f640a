"""The agents side by side, and who drifts from the rest."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

SPENT = ("epsilon", "party_epsilon")  # of an agent, as far as it is counted
_COLUMNS = (
    "agent",
    "learner",
    "examples",
    "rounds",
    "loss",
    "norm",
    "standing",
    *SPENT,
    "seconds",
    "bytes_sent",
    "failures",
)
_HEADINGS = {"bytes_sent": "sent", "failures": "failed", "party_epsilon": "party\nepsilon"}
_TEXT_COLUMNS = ("agent", "learner")
_NORMAL_MAD = 1.4826  # scales the MAD of normal values to their standard deviation
_SMALLEST_SPREAD = 0.02  # when nearly all agents agree, a difference of this size is still ordinary
_MAX_DEVIATIONS = 3.0
DRIFTS = "drifts: the model scores far worse on this agent's own validation data than on most agents'; look at its data"


def agent_table(
    rows: Sequence[Mapping[str, object]], primary: tuple[str, bool] = ("accuracy", True), *, limit: int | None = None
) -> Table:
    """One line per agent, with those of the known columns that any row has; a missing value is shown as "-".

    The column of failures is left out where there are none.

    An agent that `flag_drift` names by the task's primary metric on its own validation data is marked "drifts" in a
    last column.

    Args:
        rows: Values by column: agent, learner, examples, rounds, loss, val_METRIC, test_METRIC, both with personal_
            before them, norm, epsilon, party_epsilon, seconds, bytes_sent, failures. Other keys are not shown.
        primary: The task's primary metric, and whether higher is better.
        limit: Lines at most, those that drift first; None shows all agents.
    """
    known = list(_COLUMNS)
    known[known.index("norm") : known.index("norm")] = [
        f"{model}{split}_{primary[0]}" for split in ("val", "test") for model in ("", "personal_")
    ]
    columns = [column for column in known if any(column in row for row in rows)]
    if not any(row.get("failures") for row in rows):
        columns = [column for column in columns if column != "failures"]
    flagged = drifting(rows, primary)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    for column in columns:
        heading = _HEADINGS.get(column, re.sub("(personal|val|test)_", r"\1\n", column))
        table.add_column(heading, justify="left" if column in _TEXT_COLUMNS else "right", no_wrap=True)
    if flagged:
        table.add_column("note", no_wrap=True)
    places = range(len(rows))
    shown = sorted(sorted(places, key=lambda place: place not in flagged)[:limit])
    for place in shown:
        drifts = place in flagged
        cells = [_cell(column, rows[place].get(column)) for column in columns]
        table.add_row(*cells, *(["drifts"] if drifts else []), style="yellow" if drifts else None)
    return table


def drifting(rows: Sequence[Mapping[str, object]], primary: tuple[str, bool]) -> set[int]:
    """Places of the rows that `flag_drift` names by the primary metric on the agents' own validation data."""
    scores = {str(place): row.get(f"val_{primary[0]}") for place, row in enumerate(rows)}
    known = {place: float(value) for place, value in scores.items() if isinstance(value, Real)}
    return {int(place) for place in flag_drift(known, primary[1])}


def flag_drift(values: Mapping[str, float], higher_is_better: bool = True) -> set[str]:
    """Names of the agents whose value is worse than the median by more than 3 scaled MADs.

    The scaled MAD is 1.4826 times the median absolute deviation from the median, and 0.02 at least: where all others
    agree, an agent is named beyond 0.06. One or two agents never drift. nan (nothing to validate on) is no evidence and
    is left out.

    Args:
        values: Each agent's metric on its own validation data, by agent name.
        higher_is_better: False for a loss.
    """
    sign = 1.0 if higher_is_better else -1.0
    scores = {name: sign * value for name, value in values.items() if not math.isnan(value)}
    if not scores:
        return set()
    median = statistics.median(scores.values())
    if math.isinf(median):  # most agents diverged: there is no rest to drift from
        return set()
    spread = max(_NORMAL_MAD * statistics.median(abs(score - median) for score in scores.values()), _SMALLEST_SPREAD)
    return {name for name, score in scores.items() if median - score > _MAX_DEVIATIONS * spread}


def _cell(column: str, value: object) -> Text:
    """The value as text; never read as rich markup, because a party chooses its own name."""
    if value is None:
        return Text("-")
    if column == "bytes_sent" and isinstance(value, Integral):
        return Text(decimal(int(value)))
    if isinstance(value, Integral):
        return Text(f"{int(value):,}")
    if isinstance(value, Real):
        return Text(f"{float(value):.1f}" if column == "seconds" else f"{float(value):.4f}")
    return Text(str(value))
