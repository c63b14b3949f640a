"""An agent's side of secure sums: it masks its update, and helps to open sums that are large enough."""

from dataclasses import replace
from math import nan
from typing import Any, Protocol, cast

from raycollab.aggregation import AgentSide, Identity, MadeIn, Partial, made_in
from raycollab.errors import ConfigError, UpdateError
from raycollab.keys import is_signed
from raycollab.secure.attempt import Attempt
from raycollab.secure.masked_sum import MaskedSum
from raycollab.secure.messages import Advertise, Arrived, Deal, Deliver, Keys, Unmask, signed
from raycollab.types import AgentReport, Round, Update

_REMEMBERED = 8  # rounds whose opened sums are remembered: as many as may be done again


class Settings(Protocol):
    """What an agent has agreed to: the driver cannot ask for less."""

    min_agents: int

    def needed(self, count: int) -> int:
        """How many of so many agents take masks away."""

    def collect(self, update: Update, round: Round) -> Partial:
        """An update as residues."""


class SecureAgent(AgentSide):
    """One agent; its secrets never leave this process, and end with each attempt.

    Args:
        rule: The settings.
        who: The agent.
    Raises: ConfigError for a party that the others cannot know.
    """

    def __init__(self, rule: Settings, who: Identity):
        super().__init__(rule.collect, who.name)
        if who.keys and who.name not in who.keys:
            raise ConfigError(
                f"agent {who.name!r}: the experiment lists no key of it, and in secure sums parties know each other by "
                f"their keys; start a new run with it among the agents"
            )
        self._rule = rule
        self._who = who
        self._attempt: Attempt | None = None
        self._opened: dict[int, list[frozenset[str]]] = {}  # who was in the sums that it helped to open, by round

    def answer(self, message: Any) -> Any:
        """Answer the driver's next message; out of turn, or of another attempt, it is refused."""
        if isinstance(message, Advertise):
            self._attempt = Attempt(self._who, message.made_in, self._rule.needed)
            return self._attempt.keys
        attempt = self._attempt
        if attempt is None or getattr(message, "made_in", None) != attempt.made_in:
            raise UpdateError(
                f"agent {self._name!r} has no secrets for this {type(message).__name__}: it was started anew since, or "
                f"the message is of another attempt; it is refused"
            )
        match message:
            case Deal():
                self._check_keys(message)
                return attempt.deal(message.keys)
            case Deliver():
                return attempt.take(message)
            case Arrived():
                self._check_opened(message)
                return attempt.confirm(message.names, self._rule.min_agents)
            case Unmask():
                shares = attempt.reveal(message.tags)
                self._remember(attempt.made_in, tuple(shares.seeds))
                return shares
        return super().answer(message)

    def collect(self, update: Update, report: AgentReport, round: Round) -> tuple[Partial, AgentReport]:
        """The masked update; and a report that tells neither loss nor norm, which the sum tells of all agents."""
        attempt = self._attempt
        if attempt is None or attempt.made_in != made_in(round):
            raise UpdateError(
                f"agent {self._name!r} round {round.index}: it has agreed on no masks for this attempt, as when it was "
                f"started anew since, and sends nothing without"
            )
        partial = cast(MaskedSum, self._rule.collect(update, round))
        _, residues = partial.whole()
        attempt.mask(residues)
        return partial, replace(report, loss=nan, norm=nan)

    def _check_keys(self, message: Deal) -> None:
        keys, attempt = message.keys, cast(Attempt, self._attempt)
        if keys.get(self._name) != attempt.keys:
            raise UpdateError(f"agent {self._name!r}: the keys that it is told are not its own; it deals nothing")
        public = [key for each in keys.values() for key in (each.sealing, each.masking)]
        if len(set(public)) < len(public):
            raise UpdateError(f"agent {self._name!r}: two keys that it is told are the same: it deals nothing")
        if len(keys) < self._rule.min_agents:
            raise UpdateError(
                f"agent {self._name!r}: {len(keys)} agents are few to hide among, min_agents={self._rule.min_agents}"
            )
        for name, each in keys.items() if self._who.keys else ():
            self._check_signed(message, name, each)

    def _check_signed(self, message: Deal, name: str, keys: Keys) -> None:
        public = self._who.keys.get(name)
        if public is None or not is_signed(signed(self._who.run, message.made_in, name, keys), keys.signature, public):
            raise UpdateError(
                f"agent {self._name!r}: the keys that it is told {name!r} has are not signed by that party"
            )

    def _check_opened(self, message: Arrived) -> None:
        """A round that is done again has the same updates: two sums of it must not differ by few of them."""
        index, names = message.made_in[0], frozenset(message.names)
        for before in self._opened.get(index, ()):
            if 0 < len(apart := before ^ names) < self._rule.min_agents:
                raise UpdateError(
                    f"agent {self._name!r} helped to open a sum of round {index} before, of others: the difference "
                    f"would tell what {sorted(apart)} sent, min_agents={self._rule.min_agents}; it tells nothing"
                )

    def _remember(self, made_in: MadeIn, names: tuple[str, ...]) -> None:
        self._opened.setdefault(made_in[0], []).append(frozenset(names))
        for old in sorted(self._opened)[:-_REMEMBERED]:
            del self._opened[old]
