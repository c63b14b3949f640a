"""When the common model grows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from raycollab.settings import Settings, require


@dataclass(frozen=True)
class News:
    """What is known after a round.

    Args:
        next_round: The number of the next one.
        score: Of this one on the shared set, such that higher is better; None if it was not evaluated.
        outputs: Classes that the model has outputs for; None where it has one for each.
        labels: One more than the largest label that an agent of the round holds; 0 if none says.
        asking: Agents of the round that ask for growth.
        agents: Agents of the round.
    """

    next_round: int
    score: float | None = None
    outputs: int | None = None
    labels: int = 0
    asking: int = 0
    agents: int = 0


class When(Settings, ABC):
    """Says after each round whether the next one is to begin with the next form.

    Attributes:
        looks_at_labels: Whether agents tell the largest label that they hold.
    """

    looks_at_labels: ClassVar[bool] = False

    @property
    def most_steps(self) -> int | None:
        """Steps that it can ever ask for; None if that is not known."""
        return None

    def init(self) -> Mapping[str, Any]:
        """What it remembers of earlier rounds: plain values. It begins anew with each form."""
        return {}

    @abstractmethod
    def cause(self, news: News, state: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Why the model is to grow now, in words, and what it remembers; empty if it is not."""


@dataclass(frozen=True)
class AtRounds(When):
    """The next form begins with each of these rounds.

    Args:
        rounds: Ascending, from 2 on.
    """

    rounds: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(self.rounds))
        ascending = bool(self.rounds) and list(self.rounds) == sorted(set(self.rounds)) and min(self.rounds) >= 2
        require(ascending, "AtRounds.rounds", self.rounds, "must be ascending rounds >= 2")

    @property
    def most_steps(self) -> int:
        """One a round."""
        return len(self.rounds)

    def cause(self, news: News, state: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Whether the next round is one of them."""
        return (f"round {news.next_round} was set" if news.next_round in self.rounds else ""), state


@dataclass(frozen=True)
class NewClasses(When):
    """The next form begins once an agent holds a label that the model has no output for.

    Agents tell the driver one more than the largest label that they train on. Rows with labels that there is no output
    for wait until there is one; in scores they count as wrong, and their loss is left out.
    """

    looks_at_labels: ClassVar[bool] = True

    def cause(self, news: News, state: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Whether there are more labels than outputs."""
        lacking = news.outputs is not None and news.labels > news.outputs
        return (f"label {news.labels - 1} has come, and there are {news.outputs} outputs" if lacking else ""), state


@dataclass(frozen=True)
class Stalled(When):
    """The next form begins once the score on the shared set does not get better any more.

    Args:
        patience: Evaluations in a row without a new best one of this form.
        least: By how much a score must be better, in units of the primary metric.
    """

    patience: int = 5
    least: float = 0.0

    def __post_init__(self) -> None:
        require(self.patience >= 1, "Stalled.patience", self.patience, "must be >= 1 evaluation")
        require(self.least >= 0, "Stalled.least", self.least, "must be >= 0")

    def init(self) -> Mapping[str, Any]:
        """No score yet."""
        return {"best": None, "since": 0}

    def cause(self, news: News, state: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Whether patience is at its end."""
        if news.score is None:
            return "", state
        best, since = state["best"], state["since"] + 1
        if best is None or news.score > best + self.least:
            best, since = news.score, 0
        stalled = since >= self.patience
        return (f"no better score in {since} evaluations" if stalled else ""), {"best": best, "since": since}


@dataclass(frozen=True)
class Asked(When):
    """The next form begins once so many of a round's agents ask for it, as `rc.adapt.Grow` lets them.

    Args:
        share: Of the agents of the round, in (0, 1].
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, "Asked.share", self.share, "must be in (0, 1]")

    def cause(self, news: News, state: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Whether enough of them ask."""
        enough = news.asking > 0 and news.asking >= self.share * news.agents
        return (f"{news.asking} of {news.agents} agents asked for it" if enough else ""), state
