"""Every update by itself."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.errors import UpdateError
from raycollab.types import Update


@dataclass
class Stack(Partial):
    """Every update by itself, in block order: [k, d] in memory, for rules that compare updates."""

    count: int = 0
    updates: tuple[Update, ...] = ()

    @classmethod
    def of(cls, update: Update) -> Self:
        """One row."""
        return cls(1, (update,))

    def __add__(self, other: Self) -> Self:
        """The rows of both."""
        return type(self)(self.count + other.count, self.updates + other.updates)

    def check(self) -> None:
        """Raise UpdateError if updates cover different elements, which a rule over whole rows cannot compare."""
        if any(update.coverage is not None for update in self.updates):
            partial = [update.agent for update in self.updates if update.coverage is not None]
            raise UpdateError(
                f"agents {partial} exchange only a part of the model; a rule over whole vectors needs all of it"
            )

    def vectors(self, name: str) -> tuple[Tensor, ...]:
        """A vector of every update by its name: k times [d].

        Raises: UpdateError if updates cover different elements.
        """
        self.check()
        return tuple(update.vectors[name] for update in self.updates)

    def shares(self) -> Tensor:
        """Weight of each update over the sum of all: float64 [k].

        Raises: UpdateError if the weights sum to zero.
        """
        weights = torch.tensor([update.weight * update.discount for update in self.updates], dtype=torch.float64)
        if not weights.sum() > 0:
            raise UpdateError(f"the weights of {self.count} updates sum to 0: at least one must be positive")
        return weights / weights.sum()

    def names(self) -> list[str]:
        """Names of the vectors that every update brought."""
        return sorted(set.intersection(*(set(update.vectors) for update in self.updates)))
