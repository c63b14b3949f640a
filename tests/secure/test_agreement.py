"""What two agents share though somebody else carries all they say."""

import pytest

from raycollab.errors import UpdateError
from raycollab.secure.agreement import KeyPair, digest, is_tag, seal, tag, unseal


def test_both_derive_the_same_key_and_no_other_purpose_or_pair_does():
    one, other, third = KeyPair(), KeyPair(), KeyPair()
    key = one.agree(other.public, b"purpose")
    assert key == other.agree(one.public, b"purpose")
    assert len({key, one.agree(other.public, b"another"), one.agree(third.public, b"purpose")}) == 3


def test_keys_come_from_the_operating_system(monkeypatch):
    """No seed of a run makes the same ones."""
    assert KeyPair().private != KeyPair().private
    monkeypatch.setattr("raycollab.secure.agreement.os.urandom", lambda count: b"\1" * count)
    assert KeyPair().private == b"\1" * 32
    assert b"\1" * 8 not in repr(KeyPair()).encode()  # and no log shows one


def test_it_is_x25519():
    """The first pair of RFC 7748, section 6.1."""
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    assert KeyPair(private).public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"


def test_a_public_key_of_small_order_is_refused():
    with pytest.raises(UpdateError, match="is no public key that anything can be agreed with"):
        KeyPair().agree(bytes(32), b"purpose")


def test_what_is_sealed_opens_only_as_it_was_sealed():
    key = digest(b"key")
    sealed = seal(key, b"message", b"about")
    assert unseal(key, sealed, b"about") == b"message"
    assert b"message" not in sealed
    for wrong in (
        (digest(b"other"), sealed, b"about"),
        (key, sealed, b"else"),
        (key, sealed[:-1] + b"\0", b"about"),
        (key, b"", b"about"),
    ):
        with pytest.raises(UpdateError, match="does not open"):
            unseal(*wrong)


def test_tags_and_digests():
    assert is_tag(b"k" * 32, b"message", tag(b"k" * 32, b"message"))
    assert not is_tag(b"k" * 32, b"message", tag(b"o" * 32, b"message"))
    assert not is_tag(b"k" * 32, b"message", b"")
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
