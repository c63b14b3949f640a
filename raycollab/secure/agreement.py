"""Secrets that two agents share though the driver carries all that they say: X25519, HKDF, AES-GCM, HMAC."""

import hmac
import os
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from raycollab.errors import UpdateError

KEY = 32  # bytes of every key, public or not, and of every seed
_ONCE = bytes(12)  # the nonce: no key seals twice


@dataclass(frozen=True)
class KeyPair:
    """A private key from the operating system's randomness, which lives for one attempt, and its public one."""

    private: bytes = field(default_factory=lambda: os.urandom(KEY), repr=False)
    _agreed: dict[bytes, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def public(self) -> bytes:
        """The public key, which tells nothing about the private one."""
        return self._key.public_key().public_bytes_raw()

    @cached_property
    def _key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.private)

    def agree(self, public: bytes, purpose: bytes) -> bytes:
        """The key that the holder of another pair derives as well, for one purpose only.

        Raises: UpdateError for a public key with which nothing can be agreed.
        """
        if public not in self._agreed:  # several keys, for several purposes, are made of what two agree on once
            try:
                self._agreed[public] = self._key.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError as error:
                raise UpdateError(
                    f"{public.hex()} is no public key that anything can be agreed with: {error}"
                ) from error
        return HKDF(SHA256(), KEY, salt=None, info=purpose).derive(self._agreed[public])


def seal(key: bytes, message: bytes, about: bytes) -> bytes:
    """Encrypt a message; it opens only together with what it is about. A key may seal once."""
    return AESGCM(key).encrypt(_ONCE, message, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """The message.

    Raises: UpdateError if it was changed, is about something else, or was sealed with another key.
    """
    try:
        return AESGCM(key).decrypt(_ONCE, sealed, about)
    except InvalidTag as error:
        raise UpdateError("it does not open: it was changed, or sealed for another round or another agent") from error


def tag(key: bytes, message: bytes) -> bytes:
    """What only the two who share the key can make of a message."""
    return hmac.digest(key, message, "sha256")


def is_tag(key: bytes, message: bytes, found: bytes) -> bool:
    """Whether one of the two has made it."""
    return hmac.compare_digest(tag(key, message), found)


def digest(*parts: bytes) -> bytes:
    """SHA-256 of some parts, each with its length before it."""
    return sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()
