"""Secrets in shares."""

import os
from itertools import combinations

import pytest

from raycollab.errors import UpdateError
from raycollab.secure.shamir import PRIME, SHARE, join, split


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(range(100, 132))])
def test_any_shares_that_are_enough_give_the_secret_back(secret):
    shares = dict(enumerate(split(secret, 5, 3), start=1))
    assert all(len(share) == SHARE for share in shares.values())
    for some in combinations(shares, 3):
        assert join({place: shares[place] for place in some}) == secret
    assert join(shares) == secret


def test_fewer_tell_nothing():
    """Two shares of a polynomial of degree two go with any secret: for each there is a third share that says so."""
    shares = dict(enumerate(split(os.urandom(32), 5, 3), start=1))
    two = {place: int.from_bytes(shares[place]) for place in (2, 5)}
    for other in (bytes(32), os.urandom(32)):
        third = _third(two, int.from_bytes(other))
        assert join({2: shares[2], 5: shares[5], 1: third.to_bytes(SHARE)}) == other


def _third(two, secret):
    """The value at 1 of the polynomial of degree two through these values and the secret at 0."""
    known, value = {0: secret, **two}, 0
    for place, held in known.items():
        factor = held
        for other in known:
            if other != place:
                factor = factor * (1 - other) * pow(place - other, -1, PRIME) % PRIME
        value += factor
    return value % PRIME


def test_a_wrong_share_gives_another_secret_or_none():
    secret = os.urandom(32)
    shares = dict(enumerate(split(secret, 4, 3), start=1))
    shares[2] = os.urandom(32).rjust(SHARE, b"\0")
    try:
        assert join(dict(list(shares.items())[:3])) != secret
    except UpdateError as error:
        assert "one of them is wrong" in str(error)  # noqa: PT017 - either may happen


def test_what_is_no_secret_is_refused():
    """A single share of which one is needed is the secret itself: one above 2**256 is none."""
    with pytest.raises(UpdateError, match="of no secret"):
        join({1: (2**256 + 5).to_bytes(SHARE)})


def test_it_is_a_prime():
    """Fermat's test to some bases, which no composite number of this size has passed by accident."""
    assert all(pow(base, PRIME - 1, PRIME) == 1 for base in (2, 3, 5, 7, 11, 13))
    assert pow(2, PRIME, PRIME + 2) != 2  # and of a composite one it fails
