"""One fault after another, and how long each takes until all agents are back."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.chaos import disk
from benchmarks.chaos.faults import Fault
from benchmarks.chaos.ledger import Ledger, name_of
from raycollab.callbacks import Callback
from raycollab.types import Notice, RoundReport

_CLEAN = 2  # rounds after the last fault
_UNSEEN = 3  # rounds after which a fault that cost nobody a round is over


class Watch(Callback):
    """Arms a fault once the one before is over, and ends the run after the last.

    Args:
        ledger: Of the run.
        faults: What is to happen, in this order.
        num_agents: All of them.
        every: Rounds between checkpoints.
        place: Where the run folder is.
        another_node: Asks for one more node of the cluster; called when one was killed.
    """

    def __init__(
        self,
        ledger: Ledger,
        faults: Sequence[Fault],
        num_agents: int,
        every: int,
        place: Path,
        another_node: Callable[[], object],
    ):
        self._ledger, self._every, self._place, self._another_node = ledger, every, place, another_node
        self._num_agents = num_agents
        self._waiting = list(faults)
        self._fault: Fault | None = None
        self._until = 0  # the round after which the next fault, or the end, may come

    def on_notice(self, notice: Notice) -> None:
        """The driver died."""
        self._ledger.add("notices.jsonl", {"text": notice.text})
        self._deaths += 1

    def on_round(self, report: RoundReport) -> None:
        """A round was committed."""
        failures = [(failure.agent, f"{failure.error}: {failure.message}") for failure in report.failures]
        agents = [agent.agent for agent in report.agents]
        row = {"round": report.index, "agents": agents, "failures": failures, "notes": report.notes}
        self._ledger.add("rounds.jsonl", row)
        if self._fault is not None and self._is_over(self._fault, report):
            struck = self._ledger.struck(self._fault)
            row = {"kind": self._fault.kind, "number": self._fault.number, "struck": struck, "missed": self._missed}
            self._ledger.add("outcomes.jsonl", row)
            self._fault = None
            self._until = report.index + _CLEAN
        if self._fault is None:
            self._next(report.index)

    def _next(self, index: int) -> None:
        if self._waiting:
            self._fault = self._waiting.pop(0)
            self._ledger.arm(self._fault, index + self._fault.gap)
            self._deaths = self._missed = self._unwritten = self._freed = 0
            self._failed = self._node_added = False
        elif index >= self._until:
            os.kill(os.getpid(), signal.SIGTERM)
            self._until = 2**62

    def _is_over(self, fault: Fault, report: RoundReport) -> bool:
        struck = self._ledger.struck(fault)
        if struck is None:
            return False
        self._missed += self._num_agents - len(report.agents)
        self._failed |= name_of(fault) in [failure.agent for failure in (*report.failures, *report.retried)]
        if fault.kind in ("node", "lost-object") and not self._node_added:
            self._node_added = True
            self._another_node()
        if len(report.agents) < self._num_agents:
            return False
        if fault.kind.startswith("driver"):
            return self._deaths > 0
        if fault.kind == "disk-full":
            return self._is_written_again(report)
        return report.index > struck["round"] and (self._failed or report.index > struck["round"] + _UNSEEN)

    def _is_written_again(self, report: RoundReport) -> bool:
        refused = any("NOT WRITTEN" in note for note in report.notes)
        self._unwritten += refused
        if self._unwritten == 2 and not self._freed:
            disk.free(self._place, self._ledger)
            self._freed = report.index
        return bool(self._freed) and not refused and report.index > self._freed + 2 * self._every


class CallWatch(Callback):
    """Counts calls that Ray lost, and ends the run after so many: they are nobody's plan.

    Args:
        ledger: Of the run.
        faults: As many of them are to happen.
    """

    def __init__(self, ledger: Ledger, faults: Sequence[Fault]):
        self._ledger = ledger
        self._left = [fault.number for fault in faults]
        self._lost: dict[str, dict[str, float]] = {}  # by agent: since when, and how many rounds
        self._ended = {"time": time.time(), "round": 0}  # the round before
        self._clean = 0

    def on_notice(self, notice: Notice) -> None:
        """The call that runs the driver was lost."""
        self._ledger.add("notices.jsonl", {"text": notice.text})
        self._lost["driver"] = {**self._ended, "missed": 0}

    def on_round(self, report: RoundReport) -> None:
        """A round was committed."""
        failures = [(failure.agent, f"{failure.error}: {failure.message}") for failure in report.failures]
        there = [agent.agent for agent in report.agents]
        row = {"round": report.index, "agents": there, "failures": failures, "notes": report.notes}
        self._ledger.add("rounds.jsonl", row)
        for who in [who for who in self._lost if who in (*there, "driver")]:
            self._over(who)
        for agent, what in failures:
            if "is unavailable: " in what:
                self._lost.setdefault(agent, {**self._ended, "missed": 0})
            if agent in self._lost:
                self._lost[agent]["missed"] += 1
        self._ended = {"time": time.time(), "round": report.index}
        self._clean += not self._left and not failures
        if self._clean == _CLEAN:
            os.kill(os.getpid(), signal.SIGTERM)
            self._clean += 1  # once: a second signal ends a process at once

    def _over(self, who: str) -> None:
        struck = self._lost.pop(who)
        if self._left:
            row = {"kind": "lost-call", "number": self._left.pop(0), "struck": struck, "missed": struck["missed"]}
            self._ledger.add("outcomes.jsonl", row)
