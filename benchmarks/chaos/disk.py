"""A disk that is full for a while: a small one of its own where it can be mounted, else one that says so."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.chaos.ledger import Ledger

_FILLER = "filler"
_MEGABYTES = 64
_PIECE = bytes(1 << 16)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Make a folder a file system of its own, if this process may."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "raycollab-chaos", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(run: str, ledger: Ledger) -> None:
    """Leave no byte free on the small disk that holds a run; on another one, let every file be refused from now on."""
    if not os.path.ismount(Path(run).parent):
        Path(ledger.path, "full").touch()
        return
    filler = os.open(Path(run).parent / _FILLER, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with suppress(OSError):
        while os.write(filler, _PIECE):
            pass
    os.close(filler)


def free(disk: Path, ledger: Ledger) -> None:
    """Make the place free again."""
    (disk / _FILLER).unlink(missing_ok=True)
    Path(ledger.path, "full").unlink(missing_ok=True)


def refused(ledger: Ledger) -> None:
    """Raise what a full disk raises, if it is to be full.

    Raises: OSError with ENOSPC.
    """
    if Path(ledger.path, "full").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
