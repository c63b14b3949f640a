"""Randomness has an address: a seed is a function of the run's seed and of what it is for, and of nothing else.

No stream depends on arrival order, on which host ran an agent, or on who else joined.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, *address: int | str) -> int:
    """Return the 63-bit seed at an address, e.g. `derive_seed(run_seed, "batches", agent, round)`.

    Source: BLAKE2b over the unambiguous text of the address, so that neighbouring addresses share no bits.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *address))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, *address: int | str) -> np.random.Generator:
    """Return numpy's generator for an address."""
    return np.random.default_rng(derive_seed(seed, *address))
