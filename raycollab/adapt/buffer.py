"""Examples that an agent keeps of all that it has seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.errors import ConfigError
from raycollab.settings import Settings, require
from raycollab.types import State


@dataclass(frozen=True)
class Buffer(Settings):
    """A store of at most so many examples.

    Args:
        capacity: Examples at most.
        by: Column of whole numbers, such as labels, of which each value gets an equal part; None keeps each example
            that was ever given with the same chance.
    Source: Chaudhry et al., 2019, arXiv 1902.10486, section 3.2: class-balanced (ring buffer, here with random places),
        and Vitter's reservoir.
    """

    capacity: int = 500
    by: str | None = "label"

    def __post_init__(self) -> None:
        require(self.capacity >= 1, "Buffer.capacity", self.capacity, "must be >= 1 example")
        require(self.by != "", "Buffer.by", self.by, "must name a column, or be null for a reservoir")

    def init(self) -> State:
        """Empty."""
        return {"rows": None, "seen": 0}

    def add(self, rows: Mapping[str, Tensor], state: State, *, seed: int) -> State:
        """With some of these examples [n, ...] in it.

        Raises: ConfigError if they have no column to balance by.
        """
        generator = torch.Generator().manual_seed(seed)
        stored = state["rows"]
        held = 0 if stored is None else len(next(iter(stored.values())))
        count = len(next(iter(rows.values())))
        if self.by is not None and self.by not in rows:
            raise ConfigError(f"Buffer.by={self.by!r}: no such column; there are: {', '.join(sorted(rows))}")
        if stored is None:
            both = dict(rows)
        else:
            both = {name: torch.cat([stored[name], column.to(stored[name].device)]) for name, column in rows.items()}
        if self.by is None:
            kept = self._reservoir(held, count, state["seen"], generator)
        else:
            kept = self._balanced(both[self.by], generator)
        return {"rows": {name: column[kept] for name, column in both.items()}, "seen": state["seen"] + count}

    def _reservoir(self, held: int, count: int, seen: int, generator: torch.Generator) -> Tensor:
        """Places among the stored and the new: each that was ever given has the same chance."""
        places = list(range(held))
        drawn = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
        for number, chance in enumerate(drawn):
            if len(places) < self.capacity:
                places.append(held + number)
            elif (place := int(chance * (seen + number + 1))) < self.capacity:
                places[place] = held + number
        return torch.tensor(places)

    def _balanced(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Places of as many of each value, drawn at random; what is left over goes to the first values."""
        kinds, counts = values.unique(return_counts=True)
        shares = _shared_out(self.capacity, counts.tolist())
        order = torch.randperm(len(values), generator=generator).to(values.device)
        shuffled = values[order]
        return torch.cat([order[shuffled == kind][:share] for kind, share in zip(kinds, shares, strict=True)])


def _shared_out(capacity: int, counts: list[int]) -> list[int]:
    """Equal parts of a capacity, where nobody takes more than there is."""
    shares, open_to = [0] * len(counts), list(range(len(counts)))
    while capacity and open_to:
        each, extra = divmod(capacity, len(open_to))
        for rank, place in enumerate(open_to):
            more = min(each + (rank < extra), counts[place] - shares[place])
            shares[place] += more
            capacity -= more
        open_to = [place for place in open_to if shares[place] < counts[place]]
    return shares
