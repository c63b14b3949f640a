"""What the driver asks a party to agree to before round 1."""

from dataclasses import dataclass, replace

from raycollab.errors import TaskMismatchError
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint


@dataclass(frozen=True)
class Offer:
    """The task, what is exchanged, and what is kept of it.

    Args:
        fingerprint: Of the task.
        spec: What is exchanged.
        run: The number of the run's ledger; empty if none is kept.
        updates: Whether parties are to keep what they sent last, for an audit.
    """

    fingerprint: Fingerprint
    spec: ParamSpec
    run: str = ""
    updates: bool = False

    def check(self, own: Fingerprint, agent: str, approves: str, *, own_task: bool) -> None:
        """Raise TaskMismatchError unless a party can agree to it.

        Args:
            own: Of the task that its agent learns.
            agent: Its name.
            approves: Digest of the only task that it agrees to; empty agrees to its own.
            own_task: Whether it brought a task of its own, whose loss and metrics need not be the offered ones.
        """
        digest = self.fingerprint.digest()
        if approves and approves != digest:
            raise TaskMismatchError(
                f"agent {agent!r} approves only task {approves} and was offered {digest}: {self.fingerprint}"
            )
        if not approves:
            offered = self.fingerprint
            offered = replace(offered, loss=own.loss, metrics=own.metrics) if own_task else offered
            own.check_offer(offered, agent, slices=self.spec.slices)
