"""What the driver asks a party to agree to before round 1."""

from dataclasses import dataclass

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
