"""What stands in a ledger, as plain data.

| kind | when | says |
|---|---|---|
| run | first | the ledger's own number, the run's name, what raycollab writes it |
| approved | before round 1 | the task, who approved it with which key, the model that all begin with |
| round | each committed round | who sent what, what weight it had, who was refused and why, the committed model |
| checkpoint | when it is on disk | the SHA-256 of each of its files |
| joined, left | between rounds | who |
| resumed | a run goes on | from which round, with which experiment file |
| ended | last | why, and the SHA-256 of what is left |
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from raycollab.ledger.signed import sent_of
from raycollab.types import AgentCard, RoundReport

TIMED = "time"  # the one field in which a round that is done again may differ


def now() -> str:
    """The time of day, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def approved(task: str, fingerprint: str, cards: Iterable[AgentCard], model: str, experiment: str) -> dict[str, Any]:
    """Who agreed to what.

    Args:
        task: What is learned, in words.
        fingerprint: The digest of it.
        cards: Of those that agreed.
        model: Digest of the model that all begin with.
        experiment: That of the experiment's file.
    """
    parties = {card.agent: party(card) for card in cards}
    kind = {"kind": "approved", "task": task, "fingerprint": fingerprint}
    return {**kind, "parties": parties, "model": model, "experiment": experiment}


def party(card: AgentCard) -> dict[str, Any]:
    """A party that agreed to the task."""
    return {"examples": card.examples, "learner": card.learner, "public": card.public, "signature": card.approval}


def round_record(report: RoundReport, after: str, model: str) -> dict[str, Any]:
    """A committed round.

    Args:
        report: What came of it.
        after: Hash of the round before.
        model: Digest of the committed vectors.
    """
    agents: dict[str, Any] = {}
    for row in report.agents:
        entry: dict[str, Any] = {"used": row.weight}
        if row.receipt is not None:
            entry |= {"sent": sent_of(row.receipt), "signature": row.receipt.signature}
        agents[row.agent] = entry
    refused = {each.agent: f"{each.error}: {each.message}" for each in (*report.retried, *report.failures)}
    kind = {"kind": "round", "round": report.index, "attempts": report.attempts, "after": after}
    return {**kind, "agents": agents, "refused": refused, "model": model, TIMED: now()}


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records say the same but for the time."""
    return {**one, TIMED: ""} == {**other, TIMED: ""}


def stories(records: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The newest record of each round; a round that was done again after a kill, to another end, stands there twice."""
    return {record["round"]: record for record in records if record.get("kind") == "round"}
