"""What a party brings to a run: its data, how it learns, and what is its own."""

from dataclasses import dataclass
from typing import Any

from raycollab.data import Source
from raycollab.keys import Key
from raycollab.learners import Learner
from raycollab.models import SubModel
from raycollab.quality.opening import check_quality
from raycollab.settings import Settings, require
from raycollab.task import Task

_ACCEPTED: dict[str, tuple[Any, str]] = {  # what some fields must be, and how that is said
    "shard": (Source, "Source"),
    "learner": (Learner, "Learner"),
    "test": (Source | None, "Source, or None for no test set"),
    "key": (Key | None, "Key, or None to sign nothing"),
    "holds": (SubModel | None, "part of a net such as rc.models.Width(0.25), or None for all of it"),
}


@dataclass(frozen=True)
class Agent(Settings):
    """What a party brings. A value: nothing is opened before the agent runs on its own node.

    Args:
        name: Unique in an experiment.
        shard: Where its data is.
        learner: How it learns.
        task: Its own task, with its own loss; None takes the experiment's.
        val_fraction: Share of the shard that is kept for its own validation, in [0, 1).
        approves: Fingerprint of the only task it agrees to; empty agrees to its own.
        quality: What becomes of rows whose label is likely wrong: "keep", "down-weight" (they count half) or "drop".
        test: Where its own test set is, which it never trains on: the common model with its private part is scored
            there in the rounds that are evaluated. Parties with tasks of their own have no use for the shared one.
        key: What it signs its updates with, for the ledger; None signs nothing.
        holds: Which part of its task's net it holds, such as rc.models.Width(0.25); None for all of it.
    """

    name: str
    shard: Source
    learner: Learner
    task: Task | None = None
    val_fraction: float = 0.1
    approves: str = ""
    quality: str = "keep"
    test: Source | None = None
    key: Key | None = None
    holds: SubModel | None = None

    def __post_init__(self) -> None:
        require(bool(self.name), "Agent.name", self.name, "must not be empty")
        require(0 <= self.val_fraction < 1, "Agent.val_fraction", self.val_fraction, "must be in [0, 1)")
        check_quality("Agent.quality", self.quality)
        for name, (kind, accepted) in _ACCEPTED.items():
            value = getattr(self, name)
            require(isinstance(value, kind), f"Agent({self.name!r}).{name}", value, f"must be a {accepted}")
        shared = self.shard.overlap() if self.val_fraction else ""
        require(not shared, f"Agent({self.name!r}).val_fraction", self.val_fraction, f"must be 0: {shared}")
