"""The driver's side of secure sums: it carries messages that it cannot read, and opens nothing but the sum of all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from raycollab.aggregation import DriverSide, Opened, Partial, Talk, made_in
from raycollab.errors import QuorumError, UpdateError
from raycollab.secure.agreement import KeyPair, digest
from raycollab.secure.fixed_point import MOST_EXAMPLES
from raycollab.secure.masked_sum import MaskedSum
from raycollab.secure.masking import Mask, add_masks
from raycollab.secure.messages import (
    Advertise,
    Arrived,
    Deal,
    Dealt,
    Deliver,
    Held,
    Keys,
    Seen,
    Shares,
    Unmask,
    context,
    mask_purpose,
)
from raycollab.secure.shamir import join
from raycollab.types import Failure, Round


class Settings(Protocol):
    """What a round needs."""

    min_agents: int

    def needed(self, count: int) -> int:
        """How many of so many agents take masks away."""


class SecureDriver(DriverSide):
    """Runs the messages of one attempt after another.

    Args:
        rule: The settings.
        run: The number of the run's ledger, which keys are bound to.
    """

    def __init__(self, rule: Settings, run: str):
        self._rule = rule
        self._run = run
        self._keys: dict[str, Keys] = {}
        self._dealt: dict[str, Dealt] = {}
        self._made_in = (0, 0, 0)

    def begin(self, round: Round, examples: Mapping[str, int], talk: Talk) -> tuple[Round, list[Failure]]:
        """Collect keys, deal shares of secrets and deliver them; who does not answer is not run."""
        self._made_in, self._dealt = made_in(round), {}
        most = 2.0 ** (max(1, *examples.values()) - 1).bit_length()
        round = replace(round, scalars={**round.scalars, MOST_EXAMPLES: most})
        self._keys, lost = talk({name: Advertise(self._made_in) for name in round.agents}, Keys)
        if not self._enough(len(self._keys)):
            return round, lost + self._too_few(self._keys)
        self._dealt, late = talk({name: Deal(self._made_in, self._keys) for name in self._keys}, Dealt)
        lost += late
        if not self._enough(len(self._dealt)):
            return round, lost + self._too_few(self._dealt)
        held, late = talk({name: self._delivery(name) for name in self._dealt}, Held)
        return round, lost + late + ([] if self._enough(len(held)) else self._too_few(held))

    def _delivery(self, receiver: str) -> Deliver:
        dealers = {name: dealt for name, dealt in self._dealt.items() if name != receiver}
        sealed = {name: dealt.sealed.get(receiver, b"") for name, dealt in dealers.items()}
        digests = {name: dealt.digests[receiver] for name, dealt in dealers.items() if receiver in dealt.digests}
        return Deliver(self._made_in, sealed, digests)

    def finish(self, total: Partial | None, arrived: Sequence[str], talk: Talk) -> Opened:
        """Ask for what the masks of the sum are made of, take them away and read it; or say why that cannot be."""
        names = tuple(sorted(arrived))
        if not isinstance(total, MaskedSum) or not self._enough(len(names)):
            return Opened(
                None, lack=f"a secure sum needs {self._least} updates to hide among, and {len(names)} arrived"
            )
        seen, silent = talk({name: Arrived(self._made_in, names) for name in names}, Seen)
        told = {name: {peer: each.tags[name] for peer, each in seen.items() if name in each.tags} for name in seen}
        shares, late = talk({name: Unmask(self._made_in, tags) for name, tags in told.items()}, Shares)
        silent += late
        wrong: list[str] = []
        try:
            form, residues = total.whole()
            residues = residues.own()
            add_masks(
                residues,
                [(seed, -sign) for name in self._dealt for seed, sign in self._masks(name, names, shares, wrong)],
            )
            opened, count, clipped = form.decode(residues)
            if count != len(names):
                raise UpdateError(
                    "the sum does not open: an update in it was replayed, or changed after its agent had masked it"
                )
        except UpdateError as error:
            return Opened(None, lack="; ".join((str(error), *wrong)), failures=tuple(silent))
        weight, total_loss = opened.scalars.get("loss", (0.0, 0.0))
        if clipped:
            wrong.append(
                f"secure sum: {clipped} elements of all updates together were above clip={form.clip:g}, and cut to it"
            )
        return Opened(opened, loss=total_loss / weight if weight > 0 else None, notes=tuple(wrong))

    def _masks(self, name: str, names: Sequence[str], shares: Mapping[str, Shares], wrong: list[str]) -> list[Mask]:
        """An agent's masks that are left in the sum: its own if it is in it, else those that all in it have with it."""
        if name in names:
            return [(self._secret(name, {who: each.seeds for who, each in shares.items()}, 0, wrong), 1)]
        pair = KeyPair(self._secret(name, {who: each.keys for who, each in shares.items()}, 1, wrong))
        bound_to = context(self._run, self._made_in, self._keys)
        agreed = {each: pair.agree(self._keys[each].masking, mask_purpose(bound_to, name, each)) for each in names}
        return [(seed, 1 if each < name else -1) for each, seed in agreed.items()]

    def _secret(self, name: str, shares: Mapping[str, Mapping[str, bytes]], which: int, wrong: list[str]) -> bytes:
        """The seed (0) or the private key (1) of an agent, from shares that are the ones it has dealt.

        Raises: UpdateError if there are too few of them, or the agent has dealt shares of something else.
        """
        places = {each: place for place, each in enumerate(sorted(self._keys), start=1)}
        needed, good = self._rule.needed(len(places)), dict[int, bytes]()
        for holder, held in shares.items():
            if name in held and digest(held[name]) == self._dealt[name].digests.get(holder, (b"", b""))[which]:
                good[places[holder]] = held[name]
            else:
                wrong.append(f"agent {holder!r} sent a wrong share of what {name!r} has dealt it: it is left out")
        if len(good) < needed:
            raise UpdateError(f"{len(good)} agents helped to take the masks of {name!r} away, and {needed} are needed")
        secret = join(dict(sorted(good.items())[:needed]))
        dealt, told = self._dealt[name], self._keys[name]
        if (digest(secret) != dealt.commitment) if which == 0 else (KeyPair(secret).public != told.masking):
            raise UpdateError(f"agent {name!r} has dealt shares of something else than its secret")
        return secret

    @property
    def _least(self) -> int:
        return max(self._rule.min_agents, self._rule.needed(len(self._keys)))

    def _enough(self, count: int) -> bool:
        return count >= self._least

    def _too_few(self, names: Mapping[str, object]) -> list[Failure]:
        message = f"{len(names)} agents are ready for a secure sum, and {self._least} must be: it sent nothing"
        return [Failure(name, QuorumError.__name__, message) for name in names]
