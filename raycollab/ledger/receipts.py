"""A party's own receipts: what it approved and sent, and what became of it, to be checked without the run folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raycollab.errors import ConfigError, RunFolderError
from raycollab.keys import is_signed
from raycollab.ledger.audit import Audit
from raycollab.ledger.lines import Finding
from raycollab.ledger.signed import approval, statement


def receipts_of(audit: Audit, agent: str) -> dict[str, Any]:
    """What the ledger holds of a party, as plain data.

    Raises: ConfigError if there is no such party, or if it does not sign: there is nothing to check then.
    """
    party: Mapping[str, Any] | None = None
    fingerprint, receipts = "", []
    names: set[str] = set()
    for line in audit.lines:
        record = line.record
        if record["kind"] == "approved":
            fingerprint, names = record["fingerprint"], names | set(record["parties"])
            party = record["parties"].get(agent, party)
        elif record["kind"] == "joined":
            names.add(record["agent"])
            party = record["party"] if record["agent"] == agent else party
        elif record["kind"] == "round" and agent in record["agents"]:
            about = {"round": record["round"], "line": line.hash, "model": record["model"]}
            receipts.append({**about, **record["agents"][agent]})
    if party is None:
        raise ConfigError(f"audit receipts: there is no agent {agent!r}; the ledger's are {', '.join(sorted(names))}")
    if not party["public"]:
        raise ConfigError(
            f"audit receipts: agent {agent!r} has no key and signs nothing, so its receipts could not be checked; give "
            f"it one: Agent.key, made by `raycollab keys new {agent}`"
        )
    run = audit.lines[0].record["run"]
    return {"run": run, "agent": agent, "fingerprint": fingerprint, "party": party, "receipts": receipts}


def read_receipts(path: str) -> dict[str, Any]:
    """Read what `raycollab audit receipts` wrote.

    Raises: RunFolderError if the file is missing or damaged.
    """
    try:
        return json.loads(Path(path).expanduser().read_text())
    except (OSError, ValueError) as error:
        remedy = "export it again with `raycollab audit receipts`"
        raise RunFolderError(f"{path} cannot be read: {error}; {remedy}") from error


def checked_receipts(found: Mapping[str, Any]) -> tuple[int, list[Finding]]:
    """How many signatures hold, and what is wrong with a party's receipts."""
    findings: list[Finding] = []
    try:
        run, agent, fingerprint, public = found["run"], found["agent"], found["fingerprint"], found["party"]["public"]
        good = int(is_signed(approval(run, agent, fingerprint), found["party"]["signature"], public))
        if not good:
            findings.append(Finding("approval", "signature", "the party has not signed this"))
        lines: dict[int, str] = {}
        for receipt in found["receipts"]:
            index, sent = receipt["round"], receipt["sent"]
            message = statement(run, fingerprint, agent, index, sent)
            if not is_signed(message, receipt["signature"], public):
                findings.append(Finding(f"round {index}", "signature", "the party has not signed this"))
            elif lines.get(index - 1, sent["after"]) != sent["after"]:
                findings.append(Finding(f"round {index}", "sent.after", "it does not follow from the round before"))
            else:
                good += 1
            lines[index] = receipt["line"]
    except (KeyError, TypeError) as error:
        findings.append(Finding("receipts", "", f"the file is damaged: {type(error).__name__}: {error}"))
        good = 0
    return good, findings
