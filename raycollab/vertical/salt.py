"""The salt that all parties of a run hold, and that nobody else does: a file on each party's node."""

import hmac
import os
import stat
from pathlib import Path

from raycollab.errors import ConfigError

_BYTES = 32  # of a new one
_LEAST = 16
_MAKE = "one party makes it with rc.vertical.new_salt(PATH) and hands the file to the other parties, past the driver"


def new_salt(path: str) -> None:
    """Write a new salt of the operating system's randomness, for its owner alone.

    Raises: ConfigError if there is such a file, or it cannot be written.
    """
    try:
        place = os.open(os.path.expanduser(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(place, "wb") as file:
            file.write(os.urandom(_BYTES))
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already, and a salt is never overwritten: choose another name") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}; choose another place") from error


def read_salt(path: str, party: str) -> bytes:
    """A party's salt.

    Raises: ConfigError if the file is not there, can be read by others, or is too short.
    """
    setting, place = f"Party({party!r}).salt={path!r}", Path(path).expanduser()
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
        salt = place.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot be read: {error}; it must be on the party's node: {_MAKE}") from error
    if mode & 0o077:
        raise ConfigError(
            f"{setting}: can be read by others (mode {mode:04o}): run `chmod 600 {path}`; if anybody may have read it, "
            f"take a new one"
        )
    if len(salt) < _LEAST:
        raise ConfigError(f"{setting}: holds {len(salt)} bytes, and needs {_LEAST} random ones or more: {_MAKE}")
    return salt


def tag_of(salt: bytes) -> str:
    """What tells two salts apart, and nothing else of one that is random."""
    return hmac.digest(salt, b"which salt", "sha256").hex()[:16]
