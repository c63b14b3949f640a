"""Which rows the parties have in common, found by salted hashes of ids, and which of them are held out.

An id becomes HMAC-SHA256 of it, keyed by the salt and cut to 16 bytes. The driver sees these hashes alone: without the
salt it can neither read an id from one nor look for a known id. It does learn how many rows each party has and which
hashes are at which parties, and each party learns which of its rows are at all of them. Whoever holds the salt, which
is every party, can hash all ids that there may be and compare (a dictionary attack); so a party that conspires with the
driver can find the ids of the others. Private set intersection by blind signatures or exponentiation would prevent it.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from raycollab.errors import DataError
from raycollab.settings import Settings, require

HASH_BYTES = 16
_NO_TOKEN = -1  # behind a text that is shorter than its column


@dataclass(frozen=True)
class HeldOut(Settings):
    """The rows that nobody trains on: each by its own hash, so that all parties hold out the same ones.

    Args:
        fraction: Share of the common rows, in (0, 1): each is held out with this probability.
        seed: Of the choice. It also depends on the salt.
    """

    fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.fraction < 1, "HeldOut.fraction", self.fraction, "must be between 0 and 1")
        require(self.seed >= 0, "HeldOut.seed", self.seed, "must be >= 0")

    def of(self, hashes: np.ndarray) -> np.ndarray:
        """Which rows are held out: hashes [n] -> bool [n]."""
        key = self.seed.to_bytes(16, "little")
        draws = [hashlib.blake2b(each, digest_size=8, key=key).digest() for each in _whole(hashes)]
        return np.frombuffer(b"".join(draws), "<u8") / 2.0**64 < self.fraction


def hashed(ids: Tensor, salt: bytes, where: str) -> np.ndarray:
    """The salted hash of each row's id [n], `S16`.

    Args:
        ids: Whole numbers [n], or texts as tokens [n, k], of which those that are -1 at the end count for nothing.
        salt: The key.
        where: What errors call them.
    Raises: DataError for ids of another kind, or two rows with the same one.
    """
    if ids.is_floating_point() or ids.ndim not in (1, 2):
        raise DataError(
            f"{where} holds {str(ids.dtype).removeprefix('torch.')} of shape {list(ids.shape)}; an id is one whole "
            f"number a row, or a text that is read with text= and a tokenizer"
        )
    numbers = ids.cpu().numpy().astype("<i8")
    messages = [number.tobytes() for number in numbers] if ids.ndim == 1 else [_text(tokens) for tokens in numbers]
    kind = b"number" if ids.ndim == 1 else b"text"
    digests = b"".join(hmac.digest(salt, kind + message, "sha256")[:HASH_BYTES] for message in messages)
    hashes = np.frombuffer(digests, f"S{HASH_BYTES}")
    _check_unique(hashes, where)
    return hashes


def in_common(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """The hashes that all parties have [m], sorted."""
    common = np.sort(hashes[0])
    for more in hashes[1:]:
        common = np.intersect1d(common, more, assume_unique=True)
    return common


def places_of(common: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Where a party has the common rows, in their order [m].

    Raises: DataError if it lacks one.
    """
    order = np.argsort(hashes, kind="stable")
    found = order[np.minimum(np.searchsorted(hashes, common, sorter=order), len(hashes) - 1)]
    missing = int((hashes[found] != common).sum())
    if missing:
        raise DataError(f"{missing} rows are said to be in common and are not here: has the data changed?")
    return found


def check_in_common(common: np.ndarray, num_rows: Mapping[str, int]) -> None:
    """Raise DataError unless the parties have some row in common."""
    if not len(common):
        held = ", ".join(f"{name} {count:,}" for name, count in num_rows.items())
        raise DataError(
            f"the parties have no row in common, of {held}: do their id columns hold the same ids, in the same form "
            f"(numbers or text)?"
        )


def _text(tokens: np.ndarray) -> bytes:
    there = np.flatnonzero(tokens != _NO_TOKEN)
    return tokens[: there[-1] + 1].tobytes() if len(there) else b""


def _whole(hashes: np.ndarray) -> list[bytes]:
    """All bytes of each hash; numpy leaves out zeros at the end of one."""
    flat = hashes.tobytes()
    return [flat[start : start + HASH_BYTES] for start in range(0, len(flat), HASH_BYTES)]


def _check_unique(hashes: np.ndarray, where: str) -> None:
    order = np.argsort(hashes, kind="stable")
    twice = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(twice):
        one, other = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        raise DataError(
            f"{where}: rows {one} and {other} have the same id ({len(twice)} such pairs); a row stands for one person: "
            f"leave the others out, or make one row of them"
        )
