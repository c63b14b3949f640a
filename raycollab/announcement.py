"""Where the driver of a run can be reached while it runs: a file in the run folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from raycollab.checkpoint import RunFolder
from raycollab.errors import RunFolderError

NAMESPACE = "raycollab"  # of the driver's actor, whose name is the run folder's path
_FILE = "driver.json"


@dataclass(frozen=True)
class Announcement:
    """A running driver.

    Args:
        address: Of its Ray cluster.
        name: Of its actor.
        auth: RAY_AUTH_MODE of the process that started it.
    """

    address: str
    name: str
    auth: str = ""


@contextmanager
def announced(folder: RunFolder, address: str) -> Iterator[None]:
    """Say in the folder that it is run on this cluster, until this ends; a killed process leaves it said."""
    announcement = Announcement(address, folder.path, os.environ.get("RAY_AUTH_MODE", ""))
    folder.write_json(_FILE, asdict(announcement))
    try:
        yield
    finally:
        with suppress(RunFolderError):  # that the file stays does no harm: nobody answers there
            folder.storage.delete(_FILE)


def authenticate(run: str) -> None:
    """Take RAY_AUTH_MODE over from a run, unless it is set; only before ray is imported, which reads it then.

    Args:
        run: Its folder.
    """
    found = announcement(RunFolder.open(run))
    if found is not None and found.auth:
        os.environ.setdefault("RAY_AUTH_MODE", found.auth)


def announcement(folder: RunFolder) -> Announcement | None:
    """Where the folder's driver says it is; None if none does."""
    return Announcement(**folder.read_json(_FILE)) if folder.storage.exists(_FILE) else None
