"""What is written down of a run as it goes on: the journal, and the ledger if one is kept."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from raycollab.checkpoint import RunFolder
from raycollab.digests import digest_of
from raycollab.errors import RunFolderError
from raycollab.journal import Journal
from raycollab.ledger import Ledger, Notary
from raycollab.storage import Storage
from raycollab.task import Fingerprint
from raycollab.types import AgentCard, RoundReport

Vectors = Mapping[str, Tensor]


class Bookkeeping:
    """Writes down what is committed; what cannot be written, as on a full disk, is written with the next round.

    Args:
        folder: Where the run is kept.
        with_ledger: Whether a ledger is kept.
        keys: Public keys by agent; empty if nobody signs.
    """

    def __init__(self, folder: RunFolder, with_ledger: bool, keys: Mapping[str, str]):
        self._folder = folder
        self._journal = Journal(folder)
        self._ledger = Ledger(folder) if with_ledger else None
        self._keys = keys
        self._notary: Notary | None = None

    @property
    def run(self) -> str:
        """The ledger's own number; empty if none is kept."""
        return self._ledger.run if self._ledger else ""

    @property
    def head(self) -> str:
        """Hash of the ledger's newest round; empty if none is kept."""
        return self._ledger.head if self._ledger else ""

    def notary(self, fingerprint: str) -> Notary | None:
        """What checks receipts, if parties sign."""
        if self._keys:
            self._notary = Notary(self.run, fingerprint, self._keys)
        return self._notary

    def begin(self, fingerprint: Fingerprint, cards: Sequence[AgentCard], vectors: Vectors) -> None:
        """The run begins from these vectors: forget rounds that were never made durable.

        Raises: RunFolderError if it cannot be written; TaskMismatchError for a party that has not signed its approval.
        """
        self._folder.truncate(0)
        if self._notary:
            for card in cards:
                self._notary.check_approval(card)
        if self._ledger:
            self._ledger.begin(str(fingerprint), fingerprint.digest(), cards, digest_of(vectors))
            self._ledger.sync()

    def restored(self, version: int, head: str, vectors: Vectors, cards: Sequence[AgentCard]) -> None:
        """The run goes on from a checkpoint: forget rounds after it.

        Args:
            version: The checkpoint's round.
            head: Hash of that round in the ledger, as the checkpoint has it.
            vectors: The checkpoint's.
            cards: Of all agents that are there, those that had joined by then among them.
        Raises: RunFolderError if the ledger holds something else.
        """
        if self._ledger:
            self._ledger.restored(version, head, digest_of(vectors), cards)
            self._ledger.sync()
        if self._ledger and self._notary:
            for card in cards:
                self._notary.admit(card.agent, card.public)
            for agent, digest, index in self._ledger.receipts():
                self._notary.saw(agent, digest, index)
        self._folder.truncate(version)

    def append(self, report: RoundReport, vectors: Vectors) -> list[str]:
        """Write down a committed round, in the ledger first; returns what is to be said if that fails."""
        notes = self._noted(self._ledger, report, vectors) if self._ledger else []
        return [*notes, *self._journal.append(report)]

    def _noted(self, ledger: Ledger, report: RoundReport, vectors: Vectors) -> list[str]:
        """Write down a committed round in the ledger."""
        for row in report.agents:
            if self._notary and row.receipt is not None:
                self._notary.saw(row.agent, row.receipt.digest, report.index)
        try:
            ledger.round(report, digest_of(vectors))
            ledger.flush()
        except RunFolderError as error:
            return [f"LEDGER NOT WRITTEN: its newest lines wait: {error}; the run goes on"]
        return []

    def joined(self, card: AgentCard, version: int) -> None:
        """Note who joined."""
        if self._notary:
            self._notary.admit(card.agent, card.public)
        if self._ledger:
            self._ledger.joined(card, version)

    def left(self, name: str, version: int) -> None:
        """Note who left."""
        if self._ledger:
            self._ledger.left(name, version)

    def witness(self, version: int, staged: Storage) -> None:
        """A checkpoint is about to count.

        Raises: RunFolderError if that cannot be written.
        """
        if self._ledger:
            self._ledger.checkpoint(version, staged)

    def flush(self) -> list[str]:
        """Write what is left; nothing is to be said then.

        Raises: RunFolderError if it cannot be written.
        """
        if self._ledger:
            self._ledger.flush()
        return self._journal.flush()

    def ended(self, reason: str) -> None:
        """The run has ended, and its model is written.

        Raises: RunFolderError if that cannot be written.
        """
        if self._ledger:
            self._ledger.ended(reason)
