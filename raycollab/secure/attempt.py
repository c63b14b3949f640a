"""An agent's secrets of one attempt at a round, and what it does with them."""

import os
from collections.abc import Callable, Mapping
from functools import cached_property

from raycollab.aggregation import Identity, MadeIn
from raycollab.errors import UpdateError
from raycollab.secure.agreement import KEY, KeyPair, digest, is_tag, seal, tag, unseal
from raycollab.secure.masking import Mask, add_masks
from raycollab.secure.messages import (
    Dealt,
    Deliver,
    Held,
    Keys,
    Seen,
    Shares,
    context,
    mask_purpose,
    names_digest,
    purpose,
    signed,
)
from raycollab.secure.residues import Residues
from raycollab.secure.shamir import SHARE, split

_SHARES, _TAGS = b"shares", b"tags"


class Attempt:
    """Two pairs of keys and the seed of a mask of its own, which end with the attempt.

    Args:
        who: The agent.
        made_in: Which attempt.
        needed: How many of so many agents are to be needed to take masks away.
    """

    def __init__(self, who: Identity, made_in: MadeIn, needed: Callable[[int], int]):
        self.made_in = made_in
        self._who = who
        self._needed = needed
        self._sealing, self._masking, self._seed = KeyPair(), KeyPair(), os.urandom(KEY)
        self._keys_of: Mapping[str, Keys] = {}
        self._bound_to = b""
        self._held: dict[str, tuple[bytes, bytes]] = {}  # shares of seed and key, by the agent that dealt them
        self._masked = False
        self._told: tuple[str, ...] | None = None  # who is said to be in the sum

    @cached_property
    def keys(self) -> Keys:
        """Its public keys, signed if the party has a key."""
        keys = Keys(self._sealing.public, self._masking.public)
        if self._who.sign is None:
            return keys
        message = signed(self._who.run, self.made_in, self._who.name, keys)
        return Keys(keys.sealing, keys.masking, self._who.sign(message))

    def deal(self, keys: Mapping[str, Keys]) -> Dealt:
        """Shares of its secrets for all whose keys these are."""
        if self._keys_of:
            raise UpdateError(f"{self._label} has dealt its shares already, and deals them once")
        self._keys_of, self._bound_to = dict(keys), context(self._who.run, self.made_in, keys)
        names = sorted(keys)
        needed = self._needed(len(names))
        seeds, private = split(self._seed, len(names), needed), split(self._masking.private, len(names), needed)
        dealt = dict(zip(names, zip(seeds, private, strict=True), strict=True))
        self._held[self._who.name] = dealt[self._who.name]
        sealed = {
            name: seal(self._key_to(name, _SHARES), b"".join(shares), self._about(self._who.name, name))
            for name, shares in dealt.items()
            if name != self._who.name
        }
        return Dealt(sealed, {name: (digest(a), digest(b)) for name, (a, b) in dealt.items()}, digest(self._seed))

    def take(self, delivery: Deliver) -> Held:
        """Open what others have dealt it; those are who it masks with."""
        if len(self._held) > 1:
            raise UpdateError(f"{self._label} has taken its shares already, and takes them once")
        for dealer in sorted(delivery.sealed):
            self._held[dealer] = self._opened(dealer, delivery)
        return Held(tuple(sorted(self._held)))

    def _opened(self, dealer: str, delivery: Deliver) -> tuple[bytes, bytes]:
        if dealer not in self._keys_of or dealer == self._who.name:
            raise UpdateError(
                f"{self._label} was dealt a share by {dealer!r}, whose keys it was not told; it is refused"
            )
        try:
            plain = unseal(
                self._key_from(dealer, _SHARES), delivery.sealed[dealer], self._about(dealer, self._who.name)
            )
        except UpdateError as error:
            raise UpdateError(f"{self._label} cannot take the share of {dealer!r}: {error}") from error
        shares = plain[:SHARE], plain[SHARE:]
        if tuple(map(digest, shares)) != delivery.digests.get(dealer):
            raise UpdateError(
                f"{self._label}: the share that {dealer!r} has dealt is not the one it says; it is refused"
            )
        return shares

    def mask(self, residues: Residues) -> None:
        """Put on its own mask, and one with each of those that it holds shares of; once, or two sums would tell."""
        if len(self._held) < max(2, self._needed(len(self._keys_of))):
            raise UpdateError(
                f"{self._label} has no masks for it: the others' shares have not reached it; it sends nothing"
            )
        if self._masked:
            raise UpdateError(f"{self._label} has masked an update in this attempt already: a mask hides one only")
        self._masked = True
        add_masks(residues, [(self._seed, 1), *map(self._mask_with, sorted(set(self._held) - {self._who.name}))])

    def _mask_with(self, other: str) -> Mask:
        seed = self._masking.agree(self._keys_of[other].masking, mask_purpose(self._bound_to, self._who.name, other))
        return seed, 1 if self._who.name < other else -1

    def confirm(self, names: tuple[str, ...], least: int) -> Seen:
        """Tell the others who it was told is in the sum; it listens to one list only."""
        known = set(names) <= set(self._held) and list(names) == sorted(set(names))
        if not (known and self._masked and self._who.name in names):
            raise UpdateError(f"{self._label}: {list(names)} cannot be who is in the sum that it sent its update for")
        if self._told not in (None, names):
            raise UpdateError(
                f"{self._label} was told of another list of agents before: somebody lies; it tells nothing"
            )
        if len(names) < (least := max(least, self._needed(len(self._keys_of)))):
            raise UpdateError(
                f"{self._label} helps to open sums of at least {least} agents, and this is of {len(names)}"
            )
        self._told = names
        message = names_digest(self._bound_to, names)
        others = [name for name in names if name != self._who.name]
        return Seen({name: tag(self._key_to(name, _TAGS), message) for name in others})

    def reveal(self, tags: Mapping[str, bytes]) -> Shares:
        """Its shares: of the seeds of those that are in the sum, of the keys of those that are not, never of both."""
        if self._told is None:
            raise UpdateError(f"{self._label} was not told who is in the sum, and reveals nothing")
        message = names_digest(self._bound_to, self._told)
        agreed = {name for name in self._told if name in tags and self._is_from(name, message, tags[name])}
        agreed.add(self._who.name)
        if wrong := sorted(set(tags) - agreed):
            raise UpdateError(
                f"{self._label}: {wrong} did not see the same list of agents; somebody lies; it reveals nothing"
            )
        if len(agreed) < (needed := self._needed(len(self._keys_of))):
            raise UpdateError(f"{self._label}: {len(agreed)} agents have seen the same list, and {needed} must have")
        absent = [name for name in self._held if name not in self._told]
        return Shares(
            {name: self._held[name][0] for name in self._told}, {name: self._held[name][1] for name in absent}
        )

    def _is_from(self, name: str, message: bytes, found: bytes) -> bool:
        return name != self._who.name and is_tag(self._key_from(name, _TAGS), message, found)

    def _key_to(self, other: str, what: bytes) -> bytes:
        return self._sealing.agree(self._keys_of[other].sealing, purpose(what, self._bound_to, self._who.name, other))

    def _key_from(self, other: str, what: bytes) -> bytes:
        return self._sealing.agree(self._keys_of[other].sealing, purpose(what, self._bound_to, other, self._who.name))

    def _about(self, dealer: str, receiver: str) -> bytes:
        return purpose(b"about", self._bound_to, dealer, receiver)

    @property
    def _label(self) -> str:
        return f"agent {self._who.name!r} in (round, attempt, version) {self.made_in}"
