"""The record of a run that only grows: who approved, who sent what, what became of it."""

import secrets
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from raycollab.checkpoint import RunFolder
from raycollab.digests import digest_of_bytes, digests_of_files
from raycollab.errors import RunFolderError
from raycollab.ledger.lines import FIRST, Line, line_of, read_lines
from raycollab.ledger.records import approved, now, party, round_record, same
from raycollab.storage import Storage
from raycollab.types import AgentCard, RoundReport

LEDGER = "ledger.jsonl"
_EXPERIMENT = "experiment.yaml"
_MODEL = ("model/model.safetensors", "model/config.json")
_VERSION = 1


class Ledger:
    """Writes ledger.jsonl in the run folder: each line carries the hash of the one before.

    A round that is replayed after a kill is the one that stands there already, and is not written again; if it came out
    differently, as when another agent failed, it is, and both stay. So the file never forks and never shrinks. What is
    noted is written by `flush`; what cannot be written, as on a full disk, is written by the next one.

    Args:
        folder: Where the run is kept.

    Attributes:
        run: The ledger's own number, drawn once.
        head: Hash of the newest round, which parties sign with their next update.
    Raises: RunFolderError if there is a ledger already and it is not as it was written.
    """

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._later: dict[int, Line] = {}  # rounds that stand there and may be done again
        self._unwritten: list[str] = []
        self._one_by_one = Lock()
        self._lines = self._read()
        self._last = self._lines[-1].hash if self._lines else FIRST
        self.head = FIRST
        if not self._lines:
            self.run = secrets.token_hex(16)
            self._put({"kind": "run", "run": self.run, "name": folder.name, "version": _VERSION, "time": now()})
        else:
            self.run = self._lines[0].record["run"]

    def begin(self, task: str, fingerprint: str, cards: Iterable[AgentCard], model: str) -> None:
        """Write down who agreed to what, before the first round."""
        record = approved(task, fingerprint, cards, model, self._experiment())
        known = [line for line in self._lines if line.record["kind"] == "approved"]
        if known and same(known[-1].record, record):  # killed before the first checkpoint
            self.head = known[-1].hash
        else:
            self.head = self._put(record)
        self._expect(0)

    def restored(self, version: int, head: str, model: str, cards: Iterable[AgentCard]) -> None:
        """The run goes on from a checkpoint.

        Args:
            version: Its round.
            head: The hash of that round, as the checkpoint has it.
            model: Digest of its vectors.
            cards: Of the agents that are there; who had not agreed before, as its data was not there, joins now.
        Raises: RunFolderError if the ledger has another round or another model there.
        """
        found = next((line for line in reversed(self._lines) if line.hash == head), None)
        if found is None or found.record["model"] != model:
            what = "is not in" if found is None else "has another model than"
            raise RunFolderError(
                f"the checkpoint of round {version} {what} {self._place}: one of them is not what the run wrote; see "
                f"`raycollab audit verify {self._folder.path}`"
            )
        self.head = head
        self._expect(version)
        self._put({"kind": "resumed", "round": version, "experiment": self._experiment(), "time": now()})
        agreed = {line.record["agent"] for line in self._lines if line.record["kind"] == "joined"}
        agreed |= {name for line in self._lines for name in line.record.get("parties", ())}
        for card in cards:
            if card.agent not in agreed:
                self.joined(card, version)

    def round(self, report: RoundReport, model: str) -> None:
        """Note a committed round; `flush` writes it."""
        record = round_record(report, self.head, model)
        known = self._later.pop(report.index, None)
        if known is not None and same(known.record, record):
            self.head = known.hash
            return
        self._later = {}
        self.head = self._put(record)

    def checkpoint(self, version: int, staged: Storage) -> None:
        """Write down what a checkpoint holds before it counts, durably, with the rounds before it.

        Raises: RunFolderError if it cannot be written.
        """
        self._put({"kind": "checkpoint", "round": version, "files": digests_of_files(staged), "time": now()})
        self.sync()

    def joined(self, card: AgentCard, version: int) -> None:
        """Note who joined after a round."""
        self._put({"kind": "joined", "round": version, "agent": card.agent, "party": party(card), "time": now()})

    def left(self, name: str, version: int) -> None:
        """Note who left after a round."""
        self._put({"kind": "left", "round": version, "agent": name, "time": now()})

    def ended(self, reason: str) -> None:
        """Write down why the run ended, and the SHA-256 of each file of its model that nobody edits by hand."""
        storage = self._folder.storage
        files = {name: digest_of_bytes(storage.read_bytes(name)) for name in _MODEL if storage.exists(name)}
        self._put({"kind": "ended", "reason": reason, "files": files, "time": now()})
        self.sync()

    def sync(self) -> None:
        """Bring everything onto the disk.

        Raises: RunFolderError if it cannot be written.
        """
        self.flush()
        self._folder.storage.sync(LEDGER)

    def receipts(self) -> list[tuple[str, str, int]]:
        """Agent, digest and round of what was counted in, in the rounds up to the one the run goes on from."""
        lines = [line for line in self._lines if line.record["kind"] == "round"]
        kept = [line.record for line in lines if line.record["round"] not in self._later]
        return [
            (agent, entry["sent"]["sha256"], record["round"])
            for record in kept
            for agent, entry in record["agents"].items()
            if "sent" in entry
        ]

    def _expect(self, version: int) -> None:
        """Take what stands there of later rounds for what replaying them should bring."""
        rounds = {line.record["round"]: line for line in self._lines if line.record["kind"] == "round"}
        self._later = {index: line for index, line in rounds.items() if index > version}

    def _put(self, record: Mapping[str, Any]) -> str:
        with self._one_by_one:  # checkpoints are written in a thread of their own
            text, self._last = line_of(record, self._last)
            self._unwritten.append(text)
            return self._last

    def flush(self) -> None:
        """Write what is left.

        Raises: RunFolderError if it cannot be written.
        """
        with self._one_by_one:
            while self._unwritten:
                self._folder.storage.append_line(LEDGER, self._unwritten[0])
                del self._unwritten[0]

    def _read(self) -> list[Line]:
        storage = self._folder.storage
        if not storage.exists(LEDGER):
            return []
        data = storage.read_bytes(LEDGER)
        lines, findings = read_lines(data[: data.rfind(b"\n") + 1])  # a torn last line never was
        if findings:
            raise RunFolderError(
                f"{self._place} is not what the run wrote: {findings[0]}; see `raycollab audit verify "
                f"{self._folder.path}`, and start a new run: this one cannot be vouched for any more"
            )
        return lines

    def _experiment(self) -> str:
        storage = self._folder.storage
        return digest_of_bytes(storage.read_bytes(_EXPERIMENT)) if storage.exists(_EXPERIMENT) else ""

    @property
    def _place(self) -> str:
        return f"{self._folder.path}/{LEDGER}"
