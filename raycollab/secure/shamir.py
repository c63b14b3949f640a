"""A secret in shares: some of them give it back, and fewer tell nothing about it."""

import secrets
from collections.abc import Iterable, Mapping, Sequence

from raycollab.errors import UpdateError

PRIME = 2**256 + 297  # the smallest above 2**256, so that 32 bytes are a number of the field
SECRET = 32  # bytes
SHARE = 33  # bytes


def split(secret: bytes, count: int, needed: int) -> list[bytes]:
    """Shares of 32 bytes: the values at 1, 2, ..., count of a random polynomial that is the secret at 0.

    Args:
        secret: The 32 bytes.
        count: Shares to make.
        needed: How many of them give the secret back, 1 .. count.
    Source: Shamir, Communications of the ACM, 1979; over the integers modulo 2**256 + 297.
    """
    coefficients = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(needed - 1))]
    return [_value(coefficients, place).to_bytes(SHARE) for place in range(1, count + 1)]


def join(shares: Mapping[int, bytes]) -> bytes:
    """The secret from as many shares as it needs, by their place from 1.

    Raises: UpdateError if they are of no secret: one of them is wrong.
    """
    factors = _at_zero(tuple(sorted(shares)))
    value = sum(factor * int.from_bytes(shares[place]) for place, factor in factors.items()) % PRIME
    if value >= 2 ** (8 * SECRET):
        raise UpdateError(f"shares {sorted(shares)} are of no secret: one of them is wrong")
    return value.to_bytes(SECRET)


def _value(coefficients: Sequence[int], place: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * place + coefficient) % PRIME
    return value


def _at_zero(places: Iterable[int]) -> dict[int, int]:
    """What each value counts in the polynomial's value at 0: Lagrange's factors."""
    factors: dict[int, int] = {}
    for place in places:
        above = below = 1
        for other in places:
            if other != place:
                above = above * other % PRIME
                below = below * (other - place) % PRIME
        factors[place] = above * pow(below, -1, PRIME) % PRIME
    return factors
