"""A run folder held against its ledger: every byte of the ledger and of the checkpoints, and every signature."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from raycollab.checkpoint import RunFolder
from raycollab.digests import digest_of_bytes, digests_of_files
from raycollab.errors import RunFolderError
from raycollab.keys import is_signed
from raycollab.ledger.ledger import LEDGER
from raycollab.ledger.lines import FIRST, Finding, Line, read_lines
from raycollab.ledger.records import stories
from raycollab.ledger.signed import approval, statement

_EXPERIMENT = "experiment.yaml"


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found.

    Args:
        lines: Of the ledger, those that are whole.
        signatures: That hold.
        checkpoints: Rounds of those on disk.
        findings: What is not as it was written.
    """

    lines: Sequence[Line]
    signatures: int
    checkpoints: Sequence[int]
    findings: Sequence[Finding]

    @property
    def rounds(self) -> dict[int, Mapping[str, Any]]:
        """The newest record of each round."""
        return stories([line.record for line in self.lines])

    @property
    def head(self) -> str:
        """Hash of the last line."""
        return self.lines[-1].hash if self.lines else FIRST


def audited(folder: RunFolder) -> Audit:
    """Check the chain, the signatures, and the files that the ledger vouches for.

    Raises: RunFolderError if the run keeps no ledger.
    """
    if not folder.storage.exists(LEDGER):
        raise RunFolderError(
            f"{folder.path} has no {LEDGER}: the run kept none, or it was deleted; set CheckpointConfig.ledger=True"
        )
    lines, findings = read_lines(folder.storage.read_bytes(LEDGER))
    signed = _Signatures(lines)
    findings += [
        *_order(lines),
        *signed.findings,
        *_experiment(folder, lines, signed.keys),
        *_checkpoints(folder, lines),
        *_journal(folder, lines),
        *_ended(folder, lines),
    ]
    return Audit(lines, signed.good, folder.checkpoints(), findings)


class _Signatures:
    """The signatures in a ledger, checked: how many are good, and what is wrong with the others."""

    def __init__(self, lines: Sequence[Line]):
        self.keys: dict[str, str] = {}
        self.good = 0
        self.findings: list[Finding] = []
        self._run = lines[0].record.get("run", "") if lines else ""
        self._fingerprint = ""
        for line in lines:
            match line.record.get("kind"):
                case "approved":
                    self._fingerprint = line.record["fingerprint"]
                    for agent, party in line.record["parties"].items():
                        self._approved(line, agent, party)
                case "joined":
                    self._approved(line, line.record["agent"], line.record["party"])
                case "round":
                    for agent, entry in line.record["agents"].items():
                        self._sent(line, agent, entry)

    def _approved(self, line: Line, agent: str, party: Mapping[str, Any]) -> None:
        if party["public"]:
            self.keys[agent] = party["public"]
            message = approval(self._run, agent, self._fingerprint)
            self._check(line, f"parties.{agent}.signature", message, party["signature"], party["public"])

    def _sent(self, line: Line, agent: str, entry: Mapping[str, Any]) -> None:
        if not self.keys:
            return
        if agent not in self.keys or "sent" not in entry:
            what = "it is no party whose key is known" if agent not in self.keys else "it did not say what it sent"
            self.findings.append(Finding(f"line {line.number}", f"agents.{agent}", what))
            return
        message = statement(self._run, self._fingerprint, agent, line.record["round"], entry["sent"])
        self._check(line, f"agents.{agent}.signature", message, entry["signature"], self.keys[agent])
        if entry["sent"]["after"] != line.record["after"]:
            self.findings.append(Finding(f"line {line.number}", f"agents.{agent}.sent.after", "it is of another round"))

    def _check(self, line: Line, field: str, message: bytes, signature: str, public: str) -> None:
        if is_signed(message, signature, public):
            self.good += 1
        else:
            self.findings.append(Finding(f"line {line.number}", field, "the party has not signed this"))


def _order(lines: Sequence[Line]) -> Iterator[Finding]:
    """Whether each round goes on from the one before it."""
    if lines and (lines[0].number != 1 or lines[0].record.get("kind") != "run"):
        yield Finding("line 1", "kind", "it is not the first line of a ledger")
    known: dict[str, int] = {}
    whole = bool(lines) and len(lines) == lines[-1].number
    for line in lines:
        record = line.record
        if record.get("kind") == "approved":
            known[line.hash] = 0
        elif record.get("kind") == "round":
            before = known.get(record["after"])
            if before is not None and before != record["round"] - 1:
                yield Finding(f"line {line.number}", "after", f"it goes on from round {before}")
            elif before is None and whole:
                yield Finding(f"line {line.number}", "after", "what it goes on from is not in the ledger")
            known[line.hash] = record["round"]


def _experiment(folder: RunFolder, lines: Sequence[Line], keys: Mapping[str, str]) -> Iterator[Finding]:
    """The experiment's file, and the keys that it lists."""
    written = [line.record["experiment"] for line in lines if "experiment" in line.record]
    data = folder.storage.read_bytes(_EXPERIMENT)
    if written and written[-1] and digest_of_bytes(data) != written[-1]:
        yield Finding(_EXPERIMENT, "", "it is not the one that the run was started or resumed with")
        return
    for member in _members(data):
        name, key = member.get("name"), (member.get("key") or {}).get("init_args", {}).get("public", "")
        if key and keys.get(str(name), key) != key:
            yield Finding(_EXPERIMENT, f"agents.{name}.key", "the ledger has another key of this party")


def _members(data: bytes) -> list[Mapping[str, Any]]:
    plain = yaml.safe_load(data)
    members = plain["agents"].get("init_args", {}).get("members", ()) if isinstance(plain, dict) else ()
    return [member.get("init_args", {}) for member in members]


def _checkpoints(folder: RunFolder, lines: Sequence[Line]) -> Iterator[Finding]:
    """The files of the checkpoints that are on disk."""
    for index in folder.checkpoints():
        storage = folder.checkpoint_of(index)
        place, found = f"checkpoint {index}", digests_of_files(storage)
        known = [
            line.record["files"]
            for line in lines
            if line.record.get("kind") == "checkpoint" and line.record["round"] == index
        ]
        if not known:
            yield Finding(place, "", "no line of the ledger is of it")
        elif found not in known:
            for name in sorted({*found, *known[-1]}):
                if found.get(name) != known[-1].get(name):
                    what = "is missing" if name not in found else "is new" if name not in known[-1] else "was changed"
                    yield Finding(place, name, f"the file {what}")


def _journal(folder: RunFolder, lines: Sequence[Line]) -> Iterator[Finding]:
    """Whether rounds are missing at the ledger's end."""
    last = max(stories([line.record for line in lines]), default=0)
    try:
        written = max((row["round"] for row in folder.rows()), default=0)
    except RunFolderError as error:
        yield Finding("journal.jsonl", "", str(error))
        return
    reached = max([written, *folder.checkpoints()])
    if last < reached:
        yield Finding(LEDGER, "", f"it ends with round {last}, and the run reached round {reached}: lines were removed")


def _ended(folder: RunFolder, lines: Sequence[Line]) -> Iterator[Finding]:
    """The files that the run left, if it has ended and did not go on."""
    if lines and lines[-1].record.get("kind") == "ended":
        for name, digest in lines[-1].record["files"].items():
            if not folder.storage.exists(name):
                yield Finding(name, "", "the file is missing")
            elif digest_of_bytes(folder.storage.read_bytes(name)) != digest:
                yield Finding(name, "", "the file was changed since the run ended")
    elif folder.storage.exists("result.json") and not any(line.record.get("kind") == "resumed" for line in lines[-1:]):
        reached = folder.read_json("result.json").get("rounds")
        if max(stories([line.record for line in lines]), default=0) == reached:
            yield Finding(LEDGER, "", "the run has ended, and the ledger does not say so: lines were removed")
