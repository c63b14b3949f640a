"""The folder through which a run's processes hear of faults, and say what they did."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import Fault

ARMED = "armed.json"


def name_of(fault: Fault) -> str:
    """The agent that a fault hits."""
    return f"agent-{fault.agent}"


@dataclass(frozen=True)
class Ledger:
    """One run's; at most one fault is armed at a time, and it strikes once."""

    path: str

    def arm(self, fault: Fault, from_round: int) -> None:
        """Let a fault strike in this round or a later one."""
        self._put(ARMED, {"fault": fault.to_plain(), "from_round": from_round})

    def claimed(self, kind: str, round: int, agent: str = "", spot: tuple[int, int] = (0, 1)) -> Fault | None:
        """The armed fault, for the first who asks where it is to strike.

        Args:
            kind: Of this kind.
            round: Due in this round.
            agent: Whose agent this is; empty if it does not matter.
            spot: Which of how many points of its kind this is.
        """
        fault, from_round = self.armed()
        if fault is None or fault.kind != kind or round < from_round or fault.spot % spot[1] != spot[0]:
            return None
        if agent not in ("", name_of(fault)):
            return None
        return fault if self.first(f"fired-{fault.number}", {"round": round}) else None

    def armed(self) -> tuple[Fault | None, int]:
        """The fault that may strike, and from which round on."""
        try:
            found = json.loads(Path(self.path, ARMED).read_text())
        except FileNotFoundError:
            return None, 0
        return Fault(**found["fault"]), found["from_round"]

    def first(self, name: str, facts: Mapping[str, Any]) -> bool:
        """Note something with the time, unless it has been noted; whether it was not."""
        mine = Path(self.path, f"{name}.{os.getpid()}")
        mine.write_text(json.dumps({"time": time.time(), **facts}))
        try:
            os.link(mine, Path(self.path, name))
        except FileExistsError:
            return False
        finally:
            mine.unlink()
        return True

    def noted(self, name: str) -> dict[str, Any] | None:
        """What has been noted under a name."""
        path = Path(self.path, name)
        return json.loads(path.read_text()) if path.exists() else None

    def struck(self, fault: Fault) -> dict[str, Any] | None:
        """When a fault struck, and in which round."""
        return self.noted(f"fired-{fault.number}")

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a line, whole even if several processes do, and there even if this one is killed next."""
        with open(Path(self.path, name), "ab", buffering=0) as file:
            file.write(json.dumps({"time": time.time(), **row}).encode() + b"\n")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All lines."""
        path = Path(self.path, name)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _put(self, name: str, value: Any) -> None:
        temporary = Path(self.path, f"{name}.new")
        temporary.write_text(json.dumps(value))
        os.replace(temporary, Path(self.path, name))
