"""Statistic, what every kind of it does; and the two that are a sum over a weight: Average and Perplexity."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from raycollab.errors import ConfigError, DataError
from raycollab.metrics.checks import assign, ratio


@dataclass(frozen=True, eq=False)
class Statistic(ABC):
    """What was counted so far: a frozen dataclass of numbers and integer arrays, a commutative monoid under `+`."""

    @abstractmethod
    def __add__(self, other: Self) -> Self:
        """The statistic of both parts together; ConfigError if they do not belong together."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The finished metrics by name; nan where nothing was counted that would define them."""

    def to_plain(self) -> dict[str, Any]:
        """Ints, floats, strings and lists that JSON keeps exactly; `statistic_from_plain` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
        return {"kind": type(self).__name__, **plain}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistic) and self.to_plain() == other.to_plain()

    def _check_mergeable(self, other: object, *settings: str) -> None:
        """ConfigError unless both are of one kind and agree in these settings."""
        name = type(self).__name__
        if not isinstance(other, type(self)):
            raise ConfigError(f"{name} + {type(other).__name__}: only statistics of one kind add up")
        for setting in settings:
            mine, theirs = getattr(self, setting), getattr(other, setting)
            if mine != theirs:
                raise ConfigError(
                    f"{name} + {name}: {setting}={mine!r} and {theirs!r}: all agents must use one setting"
                )


def statistic_from_plain(plain: Mapping[str, Any]) -> Statistic:
    """Read back what `Statistic.to_plain` wrote; every imported subclass of Statistic is known by its class name.

    Raises: DataError if the kind is unknown, or if the fields are not those of the kind.
    """
    kinds = {kind.__name__: kind for kind in _subclasses(Statistic)}
    name = plain.get("kind") if isinstance(plain, Mapping) else None
    if not isinstance(name, str) or name not in kinds:
        raise DataError(f"statistic kind={name!r}: must be one of {sorted(kinds)}; import the module of any other kind")
    try:
        return kinds[name](**{key: value for key, value in plain.items() if key != "kind"})
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"statistic kind={name!r} with fields {sorted(set(plain) - {'kind'})}: {error}") from error


@dataclass(frozen=True, eq=False)
class Average(Statistic):
    """Weighted mean of a number such as the loss; computes {name: total / weight}; nan and inf pass through.

    Args:
        name: Name of the metric.
        total: Sum of weight * value.
        weight: Sum of the weights: examples, tokens or pixels.
    """

    name: str
    total: float
    weight: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"Average.name={self.name!r}: must be a non-empty string, the name of the metric")
        _set_total_and_weight(self)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "name")
        return type(self)(self.name, self.total + other.total, self.weight + other.weight)

    def compute(self) -> dict[str, float]:
        """{name: total / weight}."""
        return {self.name: ratio(self.total, self.weight)}


@dataclass(frozen=True, eq=False)
class Perplexity(Statistic):
    """Perplexity of a language model; computes {"perplexity": exp(total / weight)}, inf where float64 ends.

    Args:
        total: Sum of the tokens' negative log-likelihoods, in nats.
        weight: Number of tokens.
    """

    total: float
    weight: float

    def __post_init__(self) -> None:
        _set_total_and_weight(self)

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other)
        return type(self)(self.total + other.total, self.weight + other.weight)

    def compute(self) -> dict[str, float]:
        """{"perplexity": exp(total / weight)}."""
        try:
            return {"perplexity": math.exp(ratio(self.total, self.weight))}
        except OverflowError:
            return {"perplexity": math.inf}


def _subclasses(kind: type[Any]) -> Iterator[type[Statistic]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _set_total_and_weight(statistic: Average | Perplexity) -> None:
    """Make both float64, and check them."""
    kind = type(statistic).__name__
    total, weight = float(statistic.total), float(statistic.weight)
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"{kind}.weight={weight}: must be finite and >= 0")
    assign(statistic, total=total, weight=weight)
