"""Where small tasks come from: an agent's rows, or a few classes of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raycollab.errors import DataError
from raycollab.rng import numpy_generator
from raycollab.settings import Settings, require
from raycollab.task import Shard
from raycollab.types import Batch

Episode = tuple[Batch, Batch]  # support, to adapt to, and query, to be judged by


class Episodes(Settings, ABC):
    """A rule that draws episodes from a shard; a seed stands for one, the same at any time and on any host.

    Attributes:
        relabels: Whether an episode's classes are called 0..N-1, whatever they are called in the shard.
    """

    relabels: bool = False

    @abstractmethod
    def draw(self, shard: Shard, seeds: Sequence[int]) -> Episode:
        """The episodes of some seeds, one after another along a new first dimension of every column [e, n, ...].

        Raises: DataError if the shard is too small.
        """


@dataclass(frozen=True)
class PartyTask(Episodes):
    """The agent is the task: rows of its shard, no row in both parts.

    Args:
        support: Examples to adapt to, >= 1.
        query: Examples to be judged by, >= 1.
    Source: Chen et al., FedMeta, 2018, arXiv 1802.07876, Algorithm 2.
    """

    support: int = 10
    query: int = 10

    def __post_init__(self) -> None:
        for name in ("support", "query"):
            require(getattr(self, name) >= 1, f"PartyTask.{name}", getattr(self, name), "must be >= 1")

    def draw(self, shard: Shard, seeds: Sequence[int]) -> Episode:
        """Rows at random, each at most once an episode."""
        columns, wanted = all_rows(shard), self.support + self.query
        have = shard.num_examples("train")
        if have < wanted:
            raise DataError(
                f"PartyTask(support={self.support}, query={self.query}) takes {wanted} examples and the shard has "
                f"{have}: lower one of them"
            )
        scores = torch.stack([torch.rand(have, generator=generator(seed)) for seed in seeds])
        places = scores.topk(wanted).indices  # [e, support + query]
        return take(columns, places[:, : self.support]), take(columns, places[:, self.support :])


@dataclass(frozen=True)
class FewShot(Episodes):
    """N-way K-shot: some classes of the shard, called 0..N-1 in the order in which they were drawn.

    Args:
        ways: N, classes of an episode, >= 2.
        shots: K, examples of each to adapt to, >= 1.
        queries: Examples of each to be judged by, >= 1.
        label: Column of classes [n], whole numbers.
        classes: Those that episodes are made of, such as a part of `split_classes`; all of the shard's if None.
    Shapes: support of N * K rows and query of N * queries rows, class by class.
    Source: Vinyals et al., NeurIPS 2016, arXiv 1606.04080, section 4.1.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15
    label: str = "label"
    classes: tuple[int, ...] | None = None

    relabels = True

    def __post_init__(self) -> None:
        for name, least in (("ways", 2), ("shots", 1), ("queries", 1)):
            require(getattr(self, name) >= least, f"FewShot.{name}", getattr(self, name), f"must be >= {least}")
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            enough = len(set(self.classes)) >= self.ways
            require(enough, "FewShot.classes", self.classes, f"must name at least ways={self.ways} classes")

    def draw(self, shard: Shard, seeds: Sequence[int]) -> Episode:
        """Classes, then rows of each: every row that a class has is as likely."""
        columns = all_rows(shard)
        rows, counts = self._by_class(columns[self.label].cpu())
        draws = [generator(seed) for seed in seeds]
        chosen = torch.stack([torch.rand(len(rows), generator=g) for g in draws]).topk(self.ways).indices  # [e, N]
        scores = torch.stack([torch.rand(self.ways, rows.shape[1], generator=g) for g in draws])  # [e, N, m]
        scores.masked_fill_(torch.arange(rows.shape[1]) >= counts[chosen].unsqueeze(2), -1.0)
        picked = scores.topk(self.shots + self.queries).indices  # [e, N, K + queries]
        places = rows[chosen.unsqueeze(2), picked]
        return self._called(columns, places[:, :, : self.shots]), self._called(columns, places[:, :, self.shots :])

    def _by_class(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of each class that may be drawn, filled up to one length [c, m], and how many they are [c]."""
        there, of_row, counts = labels.unique(return_inverse=True, return_counts=True)
        order = of_row.argsort(stable=True)
        first = counts.cumsum(0) - counts
        usable = torch.ones_like(counts, dtype=torch.bool)
        if self.classes is not None:
            usable = torch.isin(there, torch.tensor(self.classes, dtype=there.dtype))
        there, first, counts = there[usable], first[usable], counts[usable]
        if len(there) < self.ways:
            raise DataError(
                f"FewShot(ways={self.ways}) takes {self.ways} classes and the shard has {len(there)} of them: lower "
                f"ways, or give agents more classes"
            )
        wanted, few = self.shots + self.queries, int(counts.argmin())
        if counts[few] < wanted:
            raise DataError(
                f"FewShot(shots={self.shots}, queries={self.queries}) takes {wanted} examples a class and class "
                f"{int(there[few])} has {int(counts[few])} in the shard: lower one of them, or leave the class out "
                f"with FewShot.classes"
            )
        places = first.unsqueeze(1) + torch.arange(int(counts.max()))
        return order[places.clamp_(max=len(order) - 1)], counts

    def _called(self, columns: Batch, places: Tensor) -> Batch:
        names = torch.arange(self.ways).repeat_interleave(places.shape[2]).expand(len(places), -1)
        drawn = take(columns, places.flatten(1))
        return {**drawn, self.label: names.to(drawn[self.label].device)}


def split_classes(num_classes: int, shares: Sequence[float], *, seed: int = 0) -> list[tuple[int, ...]]:
    """Classes 0..num_classes-1 dealt out at random, such as to meta-training, validation and test.

    Args:
        num_classes: How many there are.
        shares: Of each part, > 0, together 1.
        seed: Of the deal.
    Returns: As many sorted tuples, disjoint and complete, for `FewShot.classes`.
    """
    good = bool(shares) and min(shares) > 0 and abs(sum(shares) - 1) < 1e-6
    require(good, "split_classes.shares", tuple(shares), "must be > 0 and add up to 1, such as (0.6, 0.2, 0.2)")
    order = numpy_generator(seed, "classes").permutation(num_classes).tolist()
    ends = [round(num_classes * sum(shares[: index + 1])) for index in range(len(shares))]
    return [tuple(sorted(order[start:end])) for start, end in zip([0, *ends], ends, strict=False)]


def all_rows(shard: Shard) -> Batch:
    """Every training row, in order."""
    return next(iter(shard.batches("train", shard.num_examples("train"), seed=None)))


def take(columns: Batch, places: Tensor) -> Batch:
    """Rows at places [e, n] of every column."""
    return {name: column[places.to(column.device)] for name, column in columns.items()}


def at(batch: Batch, index: int) -> Batch:
    """One episode's part of episodes that were drawn together."""
    return {name: column[index] for name, column in batch.items()}


def generator(seed: int) -> torch.Generator:
    """Torch's, for one episode: on the CPU, so that devices draw the same."""
    return torch.Generator().manual_seed(seed)
