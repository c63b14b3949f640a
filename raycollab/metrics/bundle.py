"""Statistics: a bundle of statistics by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from raycollab.errors import ConfigError
from raycollab.metrics.statistic import Statistic, statistic_from_plain


@dataclass(frozen=True)
class Statistics:
    """What an evaluation hands back: named statistics, merged name by name.

    Args:
        parts: (name, statistic) pairs, kept in the order of their names, so that `a + b == b + a`.
    Raises: ConfigError if a name occurs twice.
    """

    parts: tuple[tuple[str, Statistic], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.parts]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"Statistics.parts: {repeated} occur more than once; give each part its own name")
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda part: part[0])))

    @classmethod
    def of(cls, parts: Mapping[str, Statistic]) -> Self:
        """Bundle statistics by name."""
        return cls(tuple(parts.items()))

    @classmethod
    def empty(cls) -> Self:
        """The neutral element, a start for `sum(parts, Statistics.empty())`."""
        return cls()

    def __add__(self, other: "Statistics") -> Self:
        merged = dict(self.parts)
        for name, part in other.parts:
            merged[name] = merged[name] + part if name in merged else part
        return self.of(merged)

    def get(self, name: str) -> Statistic | None:
        """The statistic of this name, or None."""
        return dict(self.parts).get(name)

    def compute(self) -> dict[str, float]:
        """The metrics of all parts; ConfigError if two parts report one metric."""
        metrics: dict[str, float] = {}
        for name, part in self.parts:
            values = part.compute()
            twice = sorted(values.keys() & metrics.keys())
            if twice:
                raise ConfigError(f"Statistics part {name!r}: {twice} are reported by another part too; rename one")
            metrics.update(values)
        return metrics

    def to_plain(self) -> dict[str, Any]:
        """{name: part.to_plain()}."""
        return {name: part.to_plain() for name, part in self.parts}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read back what `to_plain` wrote."""
        return cls.of({name: statistic_from_plain(part) for name, part in plain.items()})
