"""Randomness has an address: a seed is a function of the run's seed and of what it is for, and of nothing else.

No stream depends on arrival order, on which host ran an agent, or on who else joined.
"""

import hashlib

import numpy as np

_SEPARATOR = "\x1f"


def derive_seed(seed: int, *address: int | str) -> int:
    """Return the 63-bit seed at an address, e.g. `derive_seed(run_seed, "batches", agent, round)`.

    Source: BLAKE2b over the unambiguous text of the address, so that neighbouring addresses share no bits.
    """
    text = _SEPARATOR.join(_part(part) for part in (seed, *address))
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _part(part: int | str) -> str:
    if isinstance(part, str):
        return "str:" + part.replace("\\", "\\\\").replace(_SEPARATOR, "\\x1f")  # names may hold any character
    return f"int:{part}"


def numpy_generator(seed: int, *address: int | str) -> np.random.Generator:
    """Return numpy's generator for an address."""
    return np.random.default_rng(derive_seed(seed, *address))
