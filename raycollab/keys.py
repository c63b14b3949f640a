"""Ed25519 keys: a party signs what it sends with a file that only it can read, and everybody can check that.

`raycollab keys new north` makes north.key, which stays on the party's node, and prints what belongs in the experiment.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from raycollab.errors import ConfigError
from raycollab.settings import Settings, require

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Key(Settings):
    """A party's key.

    Args:
        path: File with the private key on the party's node, which nobody else may read: mode 0600.
        public: The public key that belongs to it, 64 hexadecimal digits, as `raycollab keys new` prints it.
    """

    path: str
    public: str

    def __post_init__(self) -> None:
        require(bool(self.path), "Key.path", self.path, "must be the file that `raycollab keys new NAME` wrote")
        whole = bool(_HEX.fullmatch(self.public))
        require(whole, "Key.public", self.public, "must be 64 hexadecimal digits, as `raycollab keys show FILE` prints")

    def signer(self) -> Callable[[bytes], str]:
        """What signs with the private key.

        Raises: ConfigError if the file is not there, can be read by others, is no key, or is another one.
        """
        private = _private(self.path)
        found = _public_of(private)
        if found != self.public:
            raise ConfigError(
                f"Key.public={self.public!r}: the key in {self.path!r} has the public key {found!r}; give this one, or "
                f"the file that belongs to the other"
            )
        return lambda message: private.sign(message).hex()


def new_key(name: str, folder: str = ".") -> Key:
    """Make a key and write it as NAME.key, for its owner alone.

    Raises: ConfigError if there is such a file, or it cannot be written.
    """
    require(bool(re.fullmatch(r"[\w.\-]+", name)), "keys new", name, "letters, digits, '.', '_' and '-' only")
    ed25519, serialization = _library()
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = os.path.join(os.path.expanduser(folder), f"{name}.key")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already, and a key is never overwritten: choose another name") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}; give another folder with --out") from error
    return Key(path, _public_of(private))


def public_key(path: str) -> str:
    """The public key of a private key's file.

    Raises: ConfigError as `Key.signer` does.
    """
    return _public_of(_private(path))


def is_signed(message: bytes, signature: str, public: str) -> bool:
    """Whether whoever holds the private key has signed this message."""
    ed25519, _ = _library()
    invalid = import_module("cryptography.exceptions").InvalidSignature
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (invalid, ValueError):
        return False
    return True


def public_keys(keys: Mapping[str, Key | None]) -> dict[str, str]:
    """Public keys by agent; empty if nobody has a key.

    Raises: ConfigError if some have one and others have none.
    """
    unsigned = [name for name, key in keys.items() if key is None]
    if unsigned and len(unsigned) < len(keys):
        raise ConfigError(
            f"agents {', '.join(unsigned)} have no key, and the others do: nobody could tell who sent what; give each "
            f"its Agent.key, made by `raycollab keys new NAME`, or none"
        )
    if keys and not unsigned:
        _library()
    return {name: key.public for name, key in keys.items() if key is not None}


def _private(path: str) -> Any:
    ed25519, serialization = _library()
    place = Path(path).expanduser()
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"the key {path!r} can be read by others (mode {mode:04o}): run `chmod 600 {path}`; if anybody may "
                f"have read it, make a new one with `raycollab keys new NAME`"
            )
        found = serialization.load_pem_private_key(place.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(
            f"the key {path!r} cannot be read: {error}; it must be on the node where the agent runs, as "
            f"`raycollab keys new NAME` wrote it"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path!r} is no private key: {error}; make one with `raycollab keys new NAME`") from error
    if not isinstance(found, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{path!r} is no Ed25519 key; make one with `raycollab keys new NAME`")
    return found


def _public_of(private: Any) -> str:
    return private.public_key().public_bytes_raw().hex()


def _library() -> tuple[Any, Any]:
    """Ed25519 and serialization of the package cryptography.

    Raises: ConfigError if it is not installed.
    """
    if find_spec("cryptography") is None:
        raise ConfigError("keys need cryptography, not installed: pip install 'raycollab[trust]', on every node")
    primitives = "cryptography.hazmat.primitives"
    return import_module(f"{primitives}.asymmetric.ed25519"), import_module(f"{primitives}.serialization")
