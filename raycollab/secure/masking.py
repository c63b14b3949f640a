"""Masks: numbers that look random to all but those who know the seed, added to what they hide."""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from raycollab.secure.residues import HEAD_BYTES, HEAD_MODULUS, Residues

_PIECE = 2**17  # bytes that all masks are added to before the next ones: they stay in the cache
_ZEROS = bytes(_PIECE)
_BLOCK = 16  # bytes that a cipher may want behind what it writes
Mask = tuple[bytes, int]  # 32 bytes, for one mask only; and 1 to add it or -1 to subtract it


def add_masks(residues: Residues, masks: Sequence[Mask]) -> None:
    """Add the masks of seeds, or subtract them, in place.

    Args:
        residues: What is masked; its memory must be its own.
        masks: Seeds and signs.
    Source: AES-256 in counter mode as the pseudorandom generator, its stream read as residues, the head's first.
    """
    streams = [
        (Cipher(algorithms.AES(seed), modes.CTR(bytes(_BLOCK))).encryptor(), np.add if sign > 0 else np.subtract)
        for seed, sign in masks
    ]
    for (stream, _), (_, sign) in zip(streams, masks, strict=True):
        pairs = zip(residues.head, _head_of(stream, len(residues.head)), strict=True)
        residues.head = tuple((held + sign * value) % HEAD_MODULUS for held, value in pairs)
    room = bytearray(_PIECE + _BLOCK)
    zeros, space, made = memoryview(_ZEROS), memoryview(room), np.frombuffer(room, np.uint8)
    body = residues.unsigned
    for start in range(0, len(body), _PIECE // body.itemsize):
        piece = body[start : start + _PIECE // body.itemsize]
        values = made[: piece.nbytes].view(body.dtype)
        for stream, add in streams:
            stream.update_into(zeros[: piece.nbytes], space[: piece.nbytes + _BLOCK])
            add(piece, values, out=piece)


def _head_of(stream: CipherContext, count: int) -> list[int]:
    made = stream.update(bytes(HEAD_BYTES * count))
    return [int.from_bytes(made[place : place + HEAD_BYTES], "little") for place in range(0, len(made), HEAD_BYTES)]
