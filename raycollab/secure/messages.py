"""What the driver and agents say to each other around a round of secure sums. The driver carries all of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from raycollab.aggregation import MadeIn
from raycollab.secure.agreement import digest


@dataclass(frozen=True)
class Keys:
    """An agent's public keys of one attempt.

    Args:
        sealing: With which others seal what only it is to read.
        masking: With which others agree on masks with it.
        signature: Of its party under both; empty if parties have no keys.
    """

    sealing: bytes
    masking: bytes
    signature: str = ""


@dataclass(frozen=True)
class Advertise:
    """To each agent: make new keys. It answers with Keys."""

    made_in: MadeIn


@dataclass(frozen=True)
class Deal:
    """To each agent: these are all keys; deal shares of your secrets. It answers with Dealt."""

    made_in: MadeIn
    keys: Mapping[str, Keys]


@dataclass(frozen=True)
class Dealt:
    """An agent's secrets, in shares.

    Args:
        sealed: For each other agent, what only that one can open: a share of each of two secrets.
        digests: For each agent, itself as well, the SHA-256 of both shares.
        commitment: The SHA-256 of the seed of its own mask.
    """

    sealed: Mapping[str, bytes]
    digests: Mapping[str, tuple[bytes, bytes]]
    commitment: bytes


@dataclass(frozen=True)
class Deliver:
    """To each agent: what the others have dealt it, by who has. It answers with Held."""

    made_in: MadeIn
    sealed: Mapping[str, bytes]
    digests: Mapping[str, tuple[bytes, bytes]]


@dataclass(frozen=True)
class Held:
    """An agent has its shares of the others' secrets."""

    dealers: tuple[str, ...]


@dataclass(frozen=True)
class Arrived:
    """To each agent whose update is in the sum: these are. It answers with Seen."""

    made_in: MadeIn
    names: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """For each of the others that are in the sum, a tag that only both could make: I was told the same names."""

    tags: Mapping[str, bytes]


@dataclass(frozen=True)
class Unmask:
    """To each agent that answered: so did these; help to take the masks away. It answers with Shares."""

    made_in: MadeIn
    tags: Mapping[str, bytes]


@dataclass(frozen=True)
class Shares:
    """An agent's shares, of one secret of each other agent.

    Args:
        seeds: Of those in the sum: shares of the seeds of their own masks.
        keys: Of those that are not: shares of their private masking keys.
    """

    seeds: Mapping[str, bytes]
    keys: Mapping[str, bytes]


def context(run: str, made_in: MadeIn, keys: Mapping[str, Keys]) -> bytes:
    """What all that is sealed, agreed on and tagged in an attempt is bound to: who takes part, with which keys."""
    parts = [part for name in sorted(keys) for part in (name.encode(), keys[name].sealing, keys[name].masking)]
    return digest(run.encode(), repr(made_in).encode(), *parts)


def signed(run: str, made_in: MadeIn, name: str, keys: Keys) -> bytes:
    """What a party signs of its keys."""
    return digest(
        b"keys of a secure sum", run.encode(), repr(made_in).encode(), name.encode(), keys.sealing, keys.masking
    )


def mask_purpose(bound_to: bytes, one: str, other: str) -> bytes:
    """What a pair agrees on a mask for."""
    return digest(b"mask", bound_to, *(name.encode() for name in sorted((one, other))))


def purpose(what: bytes, bound_to: bytes, sender: str, receiver: str) -> bytes:
    """What a pair agrees on a key for that goes one way."""
    return digest(what, bound_to, sender.encode(), receiver.encode())


def names_digest(bound_to: bytes, names: tuple[str, ...]) -> bytes:
    """The digest of who is in a sum."""
    return digest(b"arrived", bound_to, *(name.encode() for name in names))
