"""How a rate changes over a run: a factor on it, as a function of rounds, epochs or steps."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from raycollab.settings import Settings, require

_UNITS = ("rounds", "epochs", "steps")


class Schedule(Settings, ABC):
    """A factor on a rate. Time is counted from 0 over the whole run, in whole rounds, epochs or steps.

    Attributes:
        over: What is counted: "rounds", or an agent's "epochs" or "steps" as if it had taken part in every round.
    """

    over: str

    @abstractmethod
    def factor(self, at: int) -> float:
        """The factor on the rate at a time, >= 0."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Always 1."""

    over: str = "rounds"

    def __post_init__(self) -> None:
        _require_unit(self)

    def factor(self, at: int) -> float:
        """1."""
        del at
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Up in a straight line over `warmup`, then down along half a cosine until `length`, and level after it.

    Args:
        length: Time at which `final` is reached.
        warmup: Time over which the factor rises to 1; at time 0 it is 1 / (warmup + 1).
        final: Factor at the end, in [0, 1].
        over: "rounds", "epochs" or "steps".
    Source: Loshchilov and Hutter, ICLR 2017, arXiv 1608.03983, equation 5 without restarts.
    """

    length: int
    warmup: int = 0
    final: float = 0.0
    over: str = "rounds"

    def __post_init__(self) -> None:
        _require_unit(self)
        require(self.length >= 1, "Cosine.length", self.length, "must be >= 1")
        require(0 <= self.warmup < self.length, "Cosine.warmup", self.warmup, f"must be in 0..{self.length - 1}")
        require(0 <= self.final <= 1, "Cosine.final", self.final, "must be in [0, 1]")

    def factor(self, at: int) -> float:
        """Warm up, then follow the cosine."""
        if at < self.warmup:
            return (at + 1) / (self.warmup + 1)
        done = min(1.0, (at - self.warmup) / (self.length - self.warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Decay(Schedule):
    """Multiplied by `rate` after every `every`: exponential with every=1, in stairs otherwise.

    Args:
        rate: Factor of each stair, in (0, 1].
        every: Time between stairs.
        over: "rounds", "epochs" or "steps".
    """

    rate: float
    every: int = 1
    over: str = "rounds"

    def __post_init__(self) -> None:
        _require_unit(self)
        require(0 < self.rate <= 1, "Decay.rate", self.rate, "must be in (0, 1]")
        require(self.every >= 1, "Decay.every", self.every, "must be >= 1")

    def factor(self, at: int) -> float:
        """The rate to the power of the stairs so far."""
        return self.rate ** (at // self.every)


def _require_unit(schedule: Schedule) -> None:
    require(schedule.over in _UNITS, f"{type(schedule).__name__}.over", schedule.over, f"must be one of {_UNITS}")
