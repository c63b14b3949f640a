"""A run on the terminal: who takes part, a line per round, and the report at the end."""

from collections.abc import Mapping, Sequence
from math import isnan
from shlex import quote
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raycollab.callbacks.base import Callback
from raycollab.report import DRIFTS, SPENT, agent_table, drifting, private_note
from raycollab.result import Result
from raycollab.types import Begun, Notice, RoundReport, Started

_MAX_AGENT_LINES = 20
_NEWEST = ("examples", "loss", "norm", "standing", *SPENT)


class Progress(Callback):
    """Prints a run.

    Args:
        console: Where to; the terminal by default.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(highlight=False)
        self._num_rounds = 0
        self._learners: dict[str, str] = {}

    def on_begin(self, begun: Begun) -> None:
        """What is about to start, which takes a while on Ray, and what to know beforehand."""
        self._learners = dict(begun.learners)
        if begun.pool == "ray":
            self._console.print(f"starting Ray and {len(begun.learners)} agents ...")
        for note in begun.notes:
            self._console.print(note, markup=False, soft_wrap=True)
        for warning in begun.warnings:
            self._console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)

    def on_start(self, started: Started) -> None:
        """A line on each agent."""
        self._num_rounds = started.num_rounds
        self._learners = {card.agent: card.learner for card in started.cards}
        table = Table("agent", "learner", "data", box=None, pad_edge=False)
        for card in started.cards[:_MAX_AGENT_LINES]:
            table.add_row(*map(escape, (card.agent, card.learner, card.summary)))
        self._console.print(table)
        more = len(started.cards) - _MAX_AGENT_LINES
        if more > 0:
            self._console.print(f"... and {more} more agents")
        resumed = f", resumed after round {started.version}" if started.version else ""
        self._console.print(
            f"{len(started.cards)} agents agreed on task {started.fingerprint}: "
            f"{started.num_params:,} parameters are exchanged; ready after {started.seconds:.1f} s{resumed}\n",
            soft_wrap=True,
        )

    def on_notice(self, notice: Notice) -> None:
        """A line."""
        self._console.print(notice.text, style="yellow", markup=False, soft_wrap=True)

    def on_round(self, report: RoundReport) -> None:
        """One line."""
        scores = {
            **({} if isnan(report.train_loss) else {"train loss": report.train_loss}),
            **{n: v for n, v in report.metrics.items() if n in ("loss", "accuracy", "auc")},
        }
        text = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        megabytes = (report.bytes_up + report.bytes_down) / 1e6
        self._console.print(
            f"round {report.index:>3}/{self._num_rounds}  {text}  "
            f"{len(report.agents)} agents  {megabytes:.2f} MB  {report.seconds:.2f} s",
            soft_wrap=True,
        )
        for failure in (*report.retried, *report.failures):
            named = failure.message.startswith(failure.error)
            cause = failure.message if named else f"{failure.error}: {failure.message}"
            line = f"  {failure.agent}: {cause}; {failure.decision}"
            self._console.print(line, style="yellow", markup=False, soft_wrap=True)
        for note in report.notes:
            self._console.print(f"  {note}", style="yellow", markup=False)

    def on_end(self, result: Result) -> None:
        """The agents side by side, the report, the folder, and what to do next."""
        self._console.print(f"\nended after {result.num_rounds} rounds: {result.stop_reason}\n")
        rows = summarised(result.agents, self._learners)
        self._console.print(agent_table(rows, result.primary, limit=_MAX_AGENT_LINES))
        if len(rows) > _MAX_AGENT_LINES:
            self._console.print(f"... and {len(rows) - _MAX_AGENT_LINES} more agents, in agents.parquet")
        if drifting(rows, result.primary):
            self._console.print(DRIFTS, style="yellow", soft_wrap=True)
        self._console.print(f"\non the shared test set:\n{result.report()}", markup=False)
        if result.private:
            self._console.print(
                f"\n{private_note(result.private, result.path)}", style="yellow", markup=False, soft_wrap=True
            )
        path = quote(result.path)
        self._console.print(
            f"\nrun folder: {result.path}\nnext: raycollab evaluate {path}\n"
            f"      raycollab predict {path} DATA.parquet --out predictions.parquet",
            markup=False,
            soft_wrap=True,
        )


def summarised(rows: Sequence[Mapping[str, Any]], learners: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per agent from rows per agent and round: sums of what adds up, the last of what does not."""
    agents: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["agent"]
        total = agents.setdefault(
            name,
            {
                "agent": name,
                "learner": learners.get(name, ""),
                "rounds": 0,
                "seconds": 0.0,
                "bytes_sent": 0,
                "failures": 0,
            },
        )
        if row.get("failure"):
            total["failures"] += 1
            continue
        total["rounds"] += 1
        total["seconds"] += row["seconds"]
        total["bytes_sent"] += row["bytes_sent"]
        total.update(
            {
                key: row[key]
                for key in row
                if (key in _NEWEST or key.startswith(("val_", "test_", "personal_"))) and row[key] is not None
            }
        )
    return list(agents.values())
