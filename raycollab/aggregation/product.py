"""The partials of several rules side by side."""

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from raycollab.aggregation.partial import NamedSums, Partial
from raycollab.tree import map_leaves
from raycollab.types import Update


@dataclass
class Product(Partial):
    """One partial for each of several rules, by name; a rule for which nothing has arrived yet has none.

    Args:
        count: Updates, whichever of the rules they were for.
        parts: A partial by the name of its rule.
    """

    count: int = 0
    parts: dict[str, Partial] = field(default_factory=dict)

    @classmethod
    def of(cls, update: Update) -> Self:
        """An update that no rule takes anything of; what each takes is for the one that knows the rules."""
        del update
        return cls(1)

    def __add__(self, other: Self) -> Self:
        """The sum of each rule's partials, as a new value."""
        names = {**self.parts, **other.parts}
        return type(self)(
            self.count + other.count,
            {
                name: self.parts[name] + other.parts[name]
                if name in self.parts and name in other.parts
                else _copy(part)
                for name, part in names.items()
            },
        )

    def __iadd__(self, other: Self) -> Self:
        """Add in place; the tensors of self must be its own."""
        for name, part in other.parts.items():
            if name in self.parts:
                self.parts[name] += part
            else:
                self.parts[name] = _copy(part)
        self.count += other.count
        return self


def _copy(partial: Partial) -> Partial:
    """The same in memory of its own, to which more can be added in place."""
    if isinstance(partial, NamedSums):
        own = type(partial)()
        own += partial
        return own
    copied: Partial = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, partial)
    return copied
