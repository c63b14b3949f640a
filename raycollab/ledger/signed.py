"""What parties sign: that they approve a task, and what they send in a round; and whether a driver takes it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from raycollab.digests import digest_of
from raycollab.errors import TaskMismatchError, UpdateError
from raycollab.keys import Key, is_signed
from raycollab.ledger.lines import canonical
from raycollab.types import EPSILON, PARTY_EPSILON, AgentCard, AgentReport, Receipt, Round, Update

_SHORTER = 1 - 1e-6  # a clipped delta is shorter by more than rounding


def approval(run: str, agent: str, fingerprint: str) -> bytes:
    """What a party signs when it approves a task."""
    return canonical({"approves": fingerprint, "agent": agent, "run": run}).encode()


def statement(run: str, fingerprint: str, agent: str, round: int, sent: Mapping[str, Any]) -> bytes:
    """What a party signs when it sends an update."""
    return canonical({"run": run, "fingerprint": fingerprint, "agent": agent, "round": round, "sent": sent}).encode()


def sent_of(receipt: Receipt) -> dict[str, Any]:
    """What a receipt says was sent, as plain data."""
    return {
        "after": receipt.after,
        "attempt": receipt.attempt,
        "base_version": receipt.base_version,
        "bytes": receipt.num_bytes,
        "clipped": receipt.clipped,
        "epsilon": receipt.epsilon,
        "norm": receipt.norm if math.isfinite(receipt.norm) else None,
        "sha256": receipt.digest,
        "weight": receipt.weight,
    }


class Signer:
    """Writes an agent's receipts, where the agent runs.

    Args:
        agent: Its name.
        key: Its key; None leaves receipts unsigned.
        run: The number of the run's ledger.
        fingerprint: Of the task that it approved.
    Raises: ConfigError for a key that cannot be used.
    """

    def __init__(self, agent: str, key: Key | None, run: str, fingerprint: str):
        self._agent = agent
        self._run = run
        self._fingerprint = fingerprint
        self._public = key.public if key is not None else ""
        self._sign: Callable[[bytes], str] = key.signer() if key is not None else lambda message: ""

    def approved(self, card: AgentCard) -> AgentCard:
        """What it says of itself, with its signature under the task."""
        signature = self._sign(approval(self._run, self._agent, self._fingerprint))
        return replace(card, approval=signature, public=self._public)

    def receipt(self, update: Update, round: Round, *, learned: float, sent: float) -> Receipt:
        """What it says of an update.

        Args:
            update: As it is sent.
            round: In which round.
            learned: Norm of the delta before the agent's transforms.
            sent: And after them.
        """
        receipt = Receipt(
            digest=digest_of(update.vectors),
            norm=sent,
            num_bytes=update.num_bytes,
            weight=update.weight * update.discount,
            clipped=sent < learned * _SHORTER,
            epsilon=update.scalars.get(EPSILON, update.scalars.get(PARTY_EPSILON)),
            base_version=round.base_version,
            attempt=round.attempt,
            after=round.ledger,
        )
        message = statement(self._run, self._fingerprint, self._agent, round.index, sent_of(receipt))
        return receipt.signed(self._sign(message))


class Notary:
    """Checks receipts where they arrive, before an update is counted in.

    Args:
        run: The number of the run's ledger.
        fingerprint: Of the task.
        keys: Public keys by agent.
    """

    def __init__(self, run: str, fingerprint: str, keys: Mapping[str, str]):
        self._run = run
        self._fingerprint = fingerprint
        self._keys = dict(keys)
        self._seen: dict[tuple[str, str], int] = {}  # the round of what each agent has sent

    def saw(self, agent: str, digest: str, round: int) -> None:
        """An update was counted in; the same one is refused in other rounds."""
        self._seen[agent, digest] = round

    def admit(self, agent: str, public: str) -> None:
        """A party joined; the key that the experiment lists for one of its own stays."""
        self._keys.setdefault(agent, public)

    def check_approval(self, card: AgentCard) -> None:
        """Look at what an agent says when it agrees to the task.

        Raises: TaskMismatchError if it has not signed that, with the key that the experiment lists.
        """
        message, public = approval(self._run, card.agent, self._fingerprint), self._keys.get(card.agent, "")
        if not (public and is_signed(message, card.approval, public)):
            raise TaskMismatchError(
                f"agent {card.agent!r} has not signed that it approves task {self._fingerprint} with the key that the "
                f"experiment lists; give it its Agent.key, made by `raycollab keys new NAME`"
            )

    def check(self, report: AgentReport, round: Round) -> None:
        """Look at what an agent says of its update.

        Raises: UpdateError if it has no key here, did not sign, signed something else than this round, or sent the
            same before.
        """
        who, receipt = f"agent {report.agent!r} round {round.index}", report.receipt
        if report.agent not in self._keys:
            raise UpdateError(f"{who}: it is none of the parties whose keys the experiment lists; it is refused")
        if receipt is None or not receipt.signature:
            raise UpdateError(f"{who}: its update is not signed; it is refused")
        said = (receipt.attempt, receipt.base_version, receipt.after)
        asked = (round.attempt, round.base_version, round.ledger)
        message = statement(self._run, self._fingerprint, report.agent, round.index, sent_of(receipt))
        if said != asked or not is_signed(message, receipt.signature, self._keys[report.agent]):
            raise UpdateError(
                f"{who}: its signature is not under this update of this round: the update was replayed or changed, or "
                f"signed with another key; it is refused"
            )
        if receipt.norm != 0 and (before := self._seen.get((report.agent, receipt.digest), round.index)) != round.index:
            raise UpdateError(f"{who}: it sent the very update of round {before}: it is replayed, and refused")

    def check_content(self, update: Update, report: AgentReport, round: Round) -> None:
        """Look at an update that arrived by itself.

        Raises: UpdateError if it is not the one that was signed.
        """
        if report.receipt is not None and digest_of(update.vectors) != report.receipt.digest:
            raise UpdateError(
                f"agent {report.agent!r} round {round.index}: what arrived is not what it signed; it is refused"
            )
