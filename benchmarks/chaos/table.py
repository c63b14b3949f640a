"""What became of the faults, as a table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.chaos.faults import KINDS

HEAD = ("fault", "faults", "rounds missed by an agent", "rounds replayed", "wrong results", "hangs", "runs ended",
        "seconds to recover, median", "max")  # fmt: skip


@dataclass
class Outcome:
    """What became of one fault.

    Args:
        kind: Name of its kind.
        seconds: From the moment that it struck until all agents had taken part in a committed round again; None if
            that never came.
        missed: Rounds that agents missed, added up over them.
        replayed: Rounds that had been committed, and were committed again.
        wrong: Committed rounds whose bits were others than the reference's.
        hang: Whether nothing more was heard of the run.
        ended: Whether the run ended by it.
    """

    kind: str
    seconds: float | None = None
    missed: int = 0
    replayed: int = 0
    wrong: int = 0
    hang: bool = False
    ended: bool = False


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: a row for each kind, one for all of them, and one for those that cost an agent its actor."""
    groups = [(kind.what, [each for each in outcomes if each.kind == kind.name]) for kind in KINDS]
    killed = {kind.name for kind in KINDS if kind.kills_agent}
    rows = [row(what, group) for what, group in groups if group]
    rows.append(row("**all**", outcomes))
    rows.append(row("**those that cost an agent its actor**", [each for each in outcomes if each.kind in killed]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows))


def row(what: str, group: Sequence[Outcome]) -> list[str]:
    """One line of the table."""
    seconds = [each.seconds for each in group if each.seconds is not None]
    counts = [len(group), *(sum(getattr(each, name) for each in group) for name in COUNTED)]
    times = [f"{take(seconds):.1f}" if seconds else "" for take in (statistics.median, max)]
    return [what, *map(str, counts), *times]


COUNTED = ("missed", "replayed", "wrong", "hang", "ended")


def is_clean(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing was wrong, hung or ended."""
    return not any(each.wrong or each.hang or each.ended for each in outcomes)
