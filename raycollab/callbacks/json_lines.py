"""A run for machines: a JSON object a line."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from raycollab.callbacks.base import Callback
from raycollab.callbacks.progress import Progress
from raycollab.errors import ConfigError
from raycollab.journal import journal_row
from raycollab.result import Result
from raycollab.types import Begun, Notice, RoundReport, Started

_SETTING = "RAYCOLLAB_LOG"


class JsonLines(Callback):
    """Writes what happens, a JSON object a line: `event` (begin, start, notice, round, end), `time`, and its facts.

    A round is its row of rounds.parquet, with its rows of agents.parquet, failures among them, inside.

    Args:
        path: File to append to; None writes to stderr. A line that finds a full disk goes there as well.
    Raises: ConfigError if the file cannot be written.
    """

    def __init__(self, path: str | None = None):
        self._path = path
        try:
            self._put("")
        except OSError as error:
            raise ConfigError(
                f"JsonLines(path={path!r}): cannot be written: {error}; name a file in a folder that is there, or none "
                f"for stderr ({_SETTING} of the command line, '-' for stderr)"
            ) from error

    def on_begin(self, begun: Begun) -> None:
        """Where it runs, and what is to be known beforehand."""
        self._write("begin", pool=begun.pool, notes=begun.notes, warnings=begun.warnings)

    def on_start(self, started: Started) -> None:
        """Who takes part."""
        agents = [card.agent for card in started.cards]
        facts = {"run": started.path, "task": started.fingerprint, "num_params": started.num_params}
        self._write("start", **facts, round=started.version, agents=agents, seconds=started.seconds)

    def on_notice(self, notice: Notice) -> None:
        """Its text."""
        self._write("notice", text=notice.text)

    def on_round(self, report: RoundReport) -> None:
        """Its row of the journal."""
        self._write("round", **journal_row(report))

    def on_end(self, result: Result) -> None:
        """Why it ended, and how good the model is."""
        facts = {"run": result.path, "rounds": result.num_rounds, "metrics": result.metrics}
        self._write("end", **facts, stop_reason=result.stop_reason)

    def _write(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **facts}) + "\n"
        try:
            self._put(line)
        except OSError as error:
            sys.stderr.write(f"{self._path}: {error}\n{line}")

    def _put(self, line: str) -> None:
        if self._path is None:
            sys.stderr.write(line)
        else:
            with Path(self._path).open("a") as file:
                file.write(line)


def watchers() -> list[Callback]:
    """What watches a run of the command line: the terminal, and JSON lines to $RAYCOLLAB_LOG, `-` for stderr."""
    path = os.environ.get(_SETTING)
    return [Progress(), *([JsonLines(None if path == "-" else path)] if path else [])]
