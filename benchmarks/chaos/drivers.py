"""Faults of the driver: where they strike in its process, and what is noted of each committed round."""

import hashlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from torch import Tensor

from benchmarks.chaos import disk
from benchmarks.chaos.faults import Fault
from benchmarks.chaos.hosts import raylet_of
from benchmarks.chaos.ledger import Ledger, name_of
from benchmarks.chaos.planting import around, die
from raycollab import storage
from raycollab.checkpoint import RunFolder
from raycollab.collecting import Collecting
from raycollab.driver import Driver
from raycollab.journal import Journal, journal_row
from raycollab.runtime.ray_work import Work
from raycollab.storage import Storage

_COLLECTING_S = 0.1  # within which agents are still at work


def bits(vectors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the bits of committed vectors."""
    total = hashlib.sha256()
    for name, vector in sorted(vectors.items()):
        total.update(name.encode())
        total.update(vector.contiguous().numpy().tobytes())
    return total.hexdigest()


class DriverFaults:
    """What may happen to the driver of this process."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._round = 0
        self._checkpoint = 0  # the round whose checkpoint is being committed

    def _dies(self, kind: str, round: int, spot: tuple[int, int] = (0, 1)) -> None:
        if self._ledger.claimed(kind, round, spot=spot):
            die()

    def selecting(self, real: Any, collecting: Any, roster: Any, index: int) -> Any:
        """Agents of a round are chosen."""
        self._round = index
        self._dies("driver-selection", index)
        return real(collecting, roster, index)

    def working(self, real: Any, work: Work, until: Any, timeout_s: float) -> None:
        """Hosts are given work, and their answers are waited for."""

        def looking_up() -> Any:
            if fault := self._ledger.claimed("driver-collecting", self._round):
                time.sleep(fault.delay_s * _COLLECTING_S)
                die()
            if fault := self._ledger.claimed("lost-object", self._round):
                self._lose(fault, work, timeout_s)
            return until()

        real(work, looking_up, timeout_s)

    def _lose(self, fault: Fault, work: Work, timeout_s: float) -> None:
        """Wait until an agent has answered, and end its node before the answer is fetched."""
        mine = [ref for ref, (host, _) in work._running.items() if host == fault.agent]  # a host has one agent
        ray.wait(mine, timeout=timeout_s, fetch_local=False)
        os.kill(int(Path(self._ledger.path, raylet_of(name_of(fault))).read_text()), signal.SIGKILL)

    def aggregating(self, real: Any, driver: Driver, index: int, collected: Any) -> Any:
        """What arrived is merged."""
        self._dies("driver-aggregation", index, (0, 2))
        merged = real(driver, index, collected)
        self._dies("driver-aggregation", index, (1, 2))
        return merged

    def committing(self, real: Any, driver: Driver, vectors: Any, chain_state: Any, gathered: Any) -> Any:
        """A round becomes the newest."""
        before = bits(driver.vectors)
        failures = real(driver, vectors, chain_state, gathered)
        agents = [report.agent for report in gathered.collected.reports]
        row = {"version": driver.version, "agents": agents, "before": before, "after": bits(driver.vectors)}
        self._ledger.add("commits.jsonl", row)
        self._dies("driver-commit", driver.version, (0, 3))
        return failures

    def journaling(self, real: Any, journal: Journal, report: Any) -> Any:
        """A committed round is written into the journal; half a line may be all that gets there."""
        if self._ledger.claimed("driver-commit", report.index, spot=(1, 3)):
            with open(f"{journal._folder.path}/journal.jsonl", "ab", buffering=0) as file:
                line = str(journal_row(report)).encode()
                file.write(line[: len(line) // 2])
            die()
        notes = real(journal, report)
        self._dies("driver-commit", report.index, (2, 3))
        return notes

    def keeping(self, real: Any, driver: Driver, report: Any) -> Any:
        """The journal and the checkpoint are next; there may be no place for them."""
        if self._ledger.claimed("disk-full", report.index):
            disk.fill(driver.folder.path, self._ledger)
        return real(driver, report)

    def checkpointing(self, real: Any, folder: RunFolder, round_index: int, state: Any, **named: Any) -> None:
        """The driver's part of a checkpoint, in the thread that writes it."""
        self._checkpoint = round_index
        self._dies("driver-checkpoint", round_index, (0, 4))
        real(folder, round_index, state, **named)
        self._dies("driver-checkpoint", round_index, (3, 4))

    def writing(self, real: Any, place: Storage, path: str, data: bytes) -> None:
        """A file is written."""
        real(place, path, data)
        if path.endswith("state.safetensors"):
            self._dies("driver-checkpoint", self._checkpoint, (1, 4))

    def replacing(self, real: Any, path: str, data: bytes) -> None:
        """A file is put on the disk, which may be full."""
        disk.refused(self._ledger)
        real(path, data)

    def renaming(self, real: Any, place: Storage, old: str, new: str) -> None:
        """A folder gets its name."""
        self._dies("driver-checkpoint", self._checkpoint, (2, 4))
        real(place, old, new)


def plant(ledger: Ledger) -> None:
    """Let faults of drivers, and of the disk, strike in this process."""
    faults = DriverFaults(ledger)
    around(Collecting, "_selected", faults.selecting)
    around(Work, "go_on", faults.working)
    around(Driver, "_aggregate", faults.aggregating)
    around(Driver, "_commit", faults.committing)
    around(Journal, "append", faults.journaling)
    around(Driver, "_keep", faults.keeping)
    around(RunFolder, "commit_checkpoint", faults.checkpointing)
    around(Storage, "write_bytes", faults.writing)
    around(Storage, "rename_dir", faults.renaming)
    around(storage, "_replace_file", faults.replacing)
