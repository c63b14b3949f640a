"""What is said between the driver and agents around a round, where a rule needs more than one message each.

A rule has two sides: one for each agent, where it runs, and one at the driver. Those of almost all rules say nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from raycollab.aggregation.partial import Partial
from raycollab.errors import UpdateError
from raycollab.types import AgentReport, Failure, Round, Update

MadeIn = tuple[int, int, int]  # round, attempt, version


def made_in(round: Round) -> MadeIn:
    """Which attempt at which round, from which version."""
    return round.index, round.attempt, round.base_version


@dataclass(frozen=True)
class Identity:
    """Who an agent is, and how others can tell.

    Args:
        name: The agent.
        run: The number of the run's ledger.
        sign: Signs with the party's key; None if it has none.
        keys: Public keys of all parties by agent, as the experiment lists them; empty if nobody signs.
    """

    name: str
    run: str = ""
    sign: Callable[[bytes], str] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


class AgentSide:
    """An agent's side of a rule: what it answers the driver, and what leaves it of its updates."""

    def __init__(self, collect: Callable[[Update, Round], Partial], name: str):
        self._collect = collect
        self._name = name

    def answer(self, message: Any) -> Any:
        """Answer the driver.

        Raises: UpdateError for a message that must not be answered.
        """
        raise UpdateError(f"agent {self._name!r} was sent a {type(message).__name__}, and its rule asks for no answers")

    def collect(self, update: Update, report: AgentReport, round: Round) -> tuple[Partial, AgentReport]:
        """What leaves the agent of an update and of what it reports of it."""
        return self._collect(update, round), report


class Talk:
    """Messages to agents of a round, and their answers.

    Args:
        ask: Brings each agent its message; returns its answer, or a Failure.
    """

    def __init__(self, ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]):
        self._ask = ask
        self._bytes_up = self._bytes_down = 0

    def __call__(self, messages: Mapping[str, Any], kind: type) -> tuple[dict[str, Any], list[Failure]]:
        """Answers of this kind by agent, and a failure of each agent that has given none, both in the order asked."""
        self._bytes_down += sum(map(_size, messages.values()))
        found = self._ask(messages)
        answers: dict[str, Any] = {}
        failures: list[Failure] = []
        for name in messages:
            answer = found.get(name)
            if isinstance(answer, kind):
                answers[name] = answer
                self._bytes_up += _size(answer)
            elif isinstance(answer, Failure):
                failures.append(answer)
            else:
                wrong = f"agent {name!r} answered with a {type(answer).__name__}, not a {kind.__name__}; it is refused"
                failures.append(Failure(name, UpdateError.__name__, wrong))
        return answers, failures

    def taken(self) -> tuple[int, int]:
        """Bytes of answers and of messages since this was asked last."""
        taken = self._bytes_up, self._bytes_down
        self._bytes_up = self._bytes_down = 0
        return taken


@dataclass(frozen=True)
class Opened:
    """The end of an attempt at a round.

    Args:
        total: What the rule merges.
        loss: Mean training loss of all agents, where their reports tell none; None where they do.
        lack: Why there is nothing to be merged; empty if there is.
        failures: Of agents that are why.
        notes: What else is to be said of it.
    """

    total: Partial | None
    loss: float | None = None
    lack: str = ""
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


class DriverSide:
    """The driver's side of a rule; this one says nothing to anybody."""

    def begin(self, round: Round, examples: Mapping[str, int], talk: Talk) -> tuple[Round, list[Failure]]:
        """Before the agents of a round are run.

        Args:
            round: The round.
            examples: Training examples of each of its agents.
            talk: Brings messages to agents.
        Returns: The round as it is broadcast, and a failure of each agent that is not to be run.
        """
        del examples, talk
        return round, []

    def finish(self, total: Partial | None, arrived: Sequence[str], talk: Talk) -> Opened:
        """After them, if enough have answered.

        Args:
            total: The sum of what they sent.
            arrived: The agents in it.
            talk: Brings messages to agents.
        """
        del arrived, talk
        return Opened(total)


def _size(message: Any) -> int:
    """Bytes of what is said, without the frame of whoever carries it: a number counts as eight."""
    if isinstance(message, bytes | str):
        return len(message)
    if isinstance(message, Mapping):
        return sum(_size(key) + _size(value) for key, value in message.items())
    if isinstance(message, list | tuple | set | frozenset):
        return sum(map(_size, message))
    if is_dataclass(message):
        return sum(_size(getattr(message, part.name)) for part in fields(message))
    return 0 if message is None else getattr(message, "nbytes", 8)
