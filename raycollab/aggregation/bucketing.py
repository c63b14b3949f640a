"""Bucketing: a rule over means of a few updates each."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.stack import Stack
from raycollab.aggregation.wrapper import Wrapper
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.types import State, Update


@dataclass(frozen=True)
class Bucketing(Wrapper):
    """Puts updates into random buckets and gives another rule the mean of each.

    Buckets of agents with unlike data are more alike than the agents, at the price that one bad update spoils its
    bucket: the rule must tolerate as many bad buckets as there may be bad updates. In a mean updates count alike, but
    for their discounts; a bucket weighs what its updates weigh together, at their mean discount.

    Args:
        rule: The rule over the buckets' means.
        size: Updates in a bucket, >= 1; the last bucket may have fewer.
    Shapes: updates of [d], k of them -> [d]. Memory: the updates, the buckets' means, and what the rule takes.
    Raises: ConfigError if the rule compares no updates, or for a size below 1.
    Source: Karimireddy et al., ICLR 2022, arXiv 2006.09365, Algorithm 1.
    """

    rule: RowRule
    size: int = 2

    partial = Stack
    weighs = False  # the rule weighs buckets
    formula = "rule(mean of each of ceil(k / size) random buckets)"

    def __post_init__(self) -> None:
        accepted = "must be a rule that compares updates, such as Krum(f=1)"
        require(isinstance(self.rule, RowRule), "Bucketing.rule", self.rule, accepted)
        require(self.size >= 1, "Bucketing.size", self.size, "must be >= 1 updates")

    @property
    def min_updates(self) -> int:
        """Enough for as many buckets as the rule needs updates."""
        return self.size * (self.rule.min_updates - 1) + 1

    @property
    def laws(self) -> frozenset[str]:
        """The rule's, but for weights, which count for nothing inside a bucket."""
        return self.rule.laws - {"weights"}

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Shuffle, average, and apply the rule."""
        stack = cast(Stack, total)
        generator = torch.Generator().manual_seed(derive_seed(seed, "buckets"))
        order = torch.randperm(stack.count, generator=generator).tolist()
        buckets = [order[start : start + self.size] for start in range(0, stack.count, self.size)]
        stack.check()
        names = stack.names()
        means = tuple(
            _mean(f"bucket-{index}", [stack.updates[i] for i in bucket], names) for index, bucket in enumerate(buckets)
        )
        return self.rule.update(Stack(len(means), means), state, params, seed=derive_seed(seed, "rule"))


def _mean(name: str, updates: list[Update], vectors: list[str]) -> Update:
    """A bucket as an update."""
    discounts = torch.tensor([update.discount for update in updates], dtype=torch.float64)
    shares = discounts / discounts.sum()
    scalars = set.intersection(*(set(update.scalars) for update in updates))
    return Update(
        name,
        sum(update.weight for update in updates),
        {key: Rows(tuple(update.vectors[key] for update in updates)).combine(shares) for key in vectors},
        {key: float(shares @ torch.tensor([u.scalars[key] for u in updates], dtype=torch.float64)) for key in scalars},
        discount=float(discounts.mean()),
    )
