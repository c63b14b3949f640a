"""Faults of hosts: where they strike in an actor that runs one agent."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.planting import around, die
from raycollab.runtime import packed_host
from raycollab.runtime.host import Host
from raycollab.runtime.live_agent import LiveAgent
from raycollab.runtime.sharing import ShareResult
from raycollab.task import Problem
from raycollab.tree import map_leaves

_SENDING_S = 0.003  # that packing, putting and answering take at most


class HostFaults:
    """What may happen to the one agent of this process."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._agent = ""
        self._round = 0
        self._steps = 0

    def starting(self, real: Any, host: Host, session: Any, agents: Any, device: str = "cpu") -> None:
        """It is made; a replacement may die here."""
        self._agent = agents[0].name
        Path(self._ledger.path, raylet_of(self._agent)).write_text(str(os.getppid()))
        self._again(0)
        real(host, session, agents, device)

    def opening(self, real: Any, host: Host, *arguments: Any) -> Any:
        """It is opened; a replacement may die here."""
        outcomes = real(host, *arguments)
        self._again(1)
        return outcomes

    def _again(self, spot: int) -> None:
        fault, _ = self._ledger.armed()
        hit = fault is not None and fault.kind == "agent-start" and self._agent == f"agent-{fault.agent}"
        if fault is None or not hit or fault.spot % 2 != spot or self._ledger.struck(fault) is None:
            return
        if self._ledger.first(f"again-{fault.number}", {}):
            die()

    def beginning(self, real: Any, live: LiveAgent, round: Any, assignment: Any, stop: Any) -> Any:
        """It takes part in a round: which of its states it starts from is noted, for the reference."""
        turn = real(live, round, assignment, stop)
        self._ledger.add("begun.jsonl", {"agent": live.agent.name, "round": round.index, "kept": turn.kept})
        return turn

    def running(self, real: Any, host: Host, round: Any, *arguments: Any) -> ShareResult:
        """Its round, from the message that asks for it to the result."""
        self._round, self._steps = round.index, 0
        if self._claimed("agent-before") or self._claimed("agent-start"):
            die()
        result = real(host, round, *arguments)
        if self._claimed("agent-after"):
            die()
        return self._corrupted(result)

    def stepping(self, real: Any, problem: Problem, *arguments: Any, **named: Any) -> Any:
        """One of its local steps."""
        self._steps += 1
        fault, _ = self._ledger.armed()
        if fault is not None and self._steps == fault.step:
            if self._claimed("agent-training"):
                die()
            if self._claimed("node"):
                os.kill(os.getppid(), signal.SIGKILL)
            if self._claimed("hang"):
                time.sleep(3600)
            if self._claimed("late"):
                while not problem.stop():
                    time.sleep(0.02)
        return real(problem, *arguments, **named)

    def packing(self, real: Any, *arguments: Any, **named: Any) -> Any:
        """Its result leaves."""
        if fault := self._claimed("agent-sending"):
            threading.Timer(fault.delay_s * _SENDING_S, die).start()
        return real(*arguments, **named)

    def _claimed(self, kind: str) -> Any:
        return self._ledger.claimed(kind, self._round, self._agent)

    def _corrupted(self, result: ShareResult) -> ShareResult:
        if self._claimed("length"):
            return map_leaves(lambda leaf: leaf[:-1] if isinstance(leaf, torch.Tensor) else leaf, result)
        if self._claimed("nan"):
            nan = float("nan")
            return map_leaves(lambda leaf: leaf * nan if isinstance(leaf, torch.Tensor) else leaf, result)
        if self._claimed("stale"):
            return replace(result, made_in=(result.made_in[0] - 1, *result.made_in[1:]))
        if self._claimed("duplicate"):
            return replace(result, reports=result.reports * 2)
        return result


def raylet_of(agent: str) -> str:
    """The file of a ledger that holds the process of the node that an agent is on."""
    return f"raylet-{agent}"


def plant(ledger: Ledger) -> None:
    """Let faults of hosts strike in this process."""
    faults = HostFaults(ledger)
    around(Host, "__init__", faults.starting)
    around(Host, "open", faults.opening)
    around(Host, "run", faults.running)
    around(LiveAgent, "begin", faults.beginning)
    around(Problem, "backward", faults.stepping)
    around(packed_host, "pack_nodes", faults.packing)
