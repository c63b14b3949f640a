"""Batches with examples from before among them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.task import Shard
from raycollab.types import Batch


@dataclass(frozen=True)
class Rehearsing:
    """A shard whose training batches have stored examples added to them.

    Args:
        shard: The agent's.
        rows: Stored examples [k, ...] by column, all that the shard has.
        share: Of each batch, in (0, 1): batches become larger, the shard's examples stay as many.
    """

    shard: Shard
    rows: Mapping[str, Tensor]
    share: float

    def num_examples(self, split: str = "train") -> int:
        """That of the shard."""
        return self.shard.num_examples(split)

    def batches(self, split: str, batch_size: int, *, seed: int | None, drop_last: bool = False) -> Iterator[Batch]:
        """The shard's batches; shuffled ones for training with stored examples drawn by the same seed."""
        drawn = self.shard.batches(split, batch_size, seed=seed, drop_last=drop_last)
        if split != "train" or seed is None:
            yield from drawn
            return
        stored = len(next(iter(self.rows.values())))
        generator = torch.Generator().manual_seed(seed)
        for batch in drawn:
            count = round(len(next(iter(batch.values()))) * self.share / (1 - self.share))
            chosen = torch.randint(stored, (count,), generator=generator)
            yield {name: torch.cat([column, self.rows[name][chosen].to(column)]) for name, column in batch.items()}
