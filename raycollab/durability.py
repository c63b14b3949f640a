"""Checkpoints that are written while the rounds go on."""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from raycollab.checkpoint import RunFolder, copy_state
from raycollab.config import CheckpointConfig
from raycollab.errors import RunFolderError
from raycollab.runtime.pool import Pool
from raycollab.storage import Storage
from raycollab.types import Failure

_TRIES = 2  # at the last checkpoint


class Durability:
    """Keeps the newest committed state on disk, one checkpoint at a time, in a thread of its own.

    A checkpoint that cannot be written, as on a full disk, is given up: what was durable stays, and the notes say so.

    Args:
        folder: Where the run is kept.
        config: How often, and how many stay.
        pool: The hosts, which store what their agents remember.
        witness: Told of a checkpoint's round, and shown its files, before it counts.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: CheckpointConfig,
        pool: Pool,
        witness: Callable[[int, Storage], None] = lambda version, staged: None,
    ):
        self.round: int | None = None  # of the newest durable state
        self._folder = folder
        self._config = config
        self._pool = pool
        self._witness = witness
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[list[Failure]]] | None = None
        self._begun_at = time.monotonic()

    def due(self, version: int) -> bool:
        """Whether this round is to be kept, by its number or by the time since the last one."""
        every, every_s = self._config.every, self._config.every_s
        by_number = every is not None and version % every == 0
        return by_number or (every_s is not None and time.monotonic() - self._begun_at >= every_s)

    def restored(self, version: int) -> None:
        """The run goes on from this checkpoint."""
        self.round = version
        self._pool.saved_at(self._folder.agents_of(version))

    def begin(
        self, version: int, state: Mapping[str, Any], last_rounds: Mapping[str, int], ready: Collection[str]
    ) -> list[str]:
        """Begin to write a state, once the one before is written; returns what is to be said of that one.

        Args:
            version: The round that made it.
            state: Of the driver; nobody may write into its tensors any more.
            last_rounds: The agents that remember something, and of which round.
            ready: Those that can store it.
        """
        notes = self.settle()
        self._begun_at = time.monotonic()
        try:
            storage = self._folder.begin_checkpoint(version)
        except RunFolderError as error:
            return [*notes, self._given_up(version, error)]
        save, before = self._pool.save(storage, last_rounds), self.round

        def write() -> list[Failure]:
            failures = save()
            if before is not None:
                for failure in failures:
                    copy_state(self._folder.agents_of(before), storage, failure.agent)
            self._folder.commit_checkpoint(version, dict(state), witness=partial(self._witness, version))
            return [failure for failure in failures if failure.agent in ready]

        self._writing = version, self._writer.submit(write)
        return notes

    def news(self) -> list[str]:
        """What is to be said of a checkpoint that has been written by now."""
        return self.settle() if self._writing and self._writing[1].done() else []

    def settle(self) -> list[str]:
        """Wait until nothing is being written any more; returns what is to be said of it."""
        if self._writing is None:
            return []
        (version, written), self._writing = self._writing, None
        try:
            failures = written.result()
        except RunFolderError as error:
            return [self._given_up(version, error)]
        self.restored(version)
        notes = [f"{f.agent}: its state of round {version} is not in the checkpoint: {f.message}" for f in failures]
        try:
            self._folder.prune(version, keep=self._config.keep)
        except RunFolderError as error:
            notes.append(f"older checkpoints stay: {error}")
        return notes

    def finish(self, version: int, begin: Callable[[], list[str]], notes: list[str]) -> list[str]:
        """Make a round durable, if it is not; returns what is to be said, after these notes.

        Args:
            version: The round.
            begin: Begins its checkpoint; it is tried twice, as a host may die while it stores.
            notes: What was said before.
        Raises: RunFolderError if it cannot be written.
        """
        for _ in range(_TRIES if version else 0):
            if self.round != version:
                notes = [*notes, *begin(), *self.settle()]
        if version and self.round != version:
            raise RunFolderError("; ".join(notes))
        return notes

    def _given_up(self, version: int, error: RunFolderError) -> str:
        kept = "there is none yet" if self.round is None else f"the one of round {self.round} is kept"
        try:
            self._folder.abandon_checkpoint(version)
        except RunFolderError as again:
            kept += f"; what was written of it stays: {again}"
        return f"CHECKPOINT NOT WRITTEN: round {version}: {error}; {kept}, and the run goes on"
