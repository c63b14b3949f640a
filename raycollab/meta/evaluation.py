"""How good a start is: what is lost on queries of new episodes, before and after adaptation, with intervals."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from raycollab.deploy import TrainedModel
from raycollab.errors import ConfigError
from raycollab.meta.base import MetaLearner
from raycollab.meta.episodes import Episode, Episodes, at
from raycollab.meta.functional import Functional, Parameters, evaluating, put
from raycollab.metrics import Statistic
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.task import Shard, Task

HALF = "_half"  # behind a metric's name: half the width of its 95 % interval
_AT_ONCE = 32  # episodes that are drawn together


@dataclass(frozen=True)
class Interval:
    """A mean over episodes and half the width of its 95 % interval, 1.96 standard errors."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Tensor) -> "Interval":
        """That of values [n], n >= 2."""
        return cls(values.mean().item(), 1.96 * values.std().item() / math.sqrt(len(values)))

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.half:.2g}"


@dataclass(frozen=True, eq=False)
class OverEpisodes(Statistic):
    """Mean of a metric over episodes, each of which counts once, and half the width of its 95 % interval.

    Args:
        name: Name of the metric.
        total: Sum over episodes.
        squares: Sum of the squares.
        count: Episodes.
    """

    name: str
    total: float
    squares: float
    count: int

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Self:
        """That of one value an episode."""
        return cls(name, math.fsum(values), math.fsum(value**2 for value in values), len(values))

    def __add__(self, other: Self) -> Self:
        self._check_mergeable(other, "name")
        sums = (self.total + other.total, self.squares + other.squares, self.count + other.count)
        return type(self)(self.name, *sums)

    def compute(self) -> dict[str, float]:
        """The mean as `name`, the interval as `name_half`."""
        if not self.count:
            return {self.name: math.nan, f"{self.name}{HALF}": math.nan}
        mean = self.total / self.count
        spread = max(self.squares - self.count * mean**2, 0.0) / max(self.count - 1, 1)
        return {self.name: mean, f"{self.name}{HALF}": 1.96 * math.sqrt(spread / self.count)}


def few_shot(
    model: TrainedModel,
    learner: MetaLearner,
    shard: Shard,
    *,
    episodes: int = 600,
    seed: int = 0,
    metric: str = "loss",
) -> dict[str, Interval]:
    """A metric on the queries of `learner.tasks`, drawn from a shard that nobody trained with.

    Args:
        model: Where to start; stays as it is.
        learner: Adapts, to episodes of its `tasks`; `curve` goes over their shots, or over its inner steps.
        shard: A new party's data.
        episodes: How many, >= 2.
        seed: They are drawn at the addresses (seed, "few-shot", number): the same for learners that are compared.
        metric: Of the task's, such as "accuracy".
    Returns: "before" and "after" adaptation, and "gain", the paired difference after - before.
    Raises: ConfigError for a metric that the task does not compute; DataError if the shard is too small.
    """
    ways = (lambda scorer, episode: scorer.params, Scorer.adapted)
    before, after = scores(model, learner, shard, ways, episodes=episodes, seed=seed, metric=metric)
    return {"before": Interval.of(before), "after": Interval.of(after), "gain": Interval.of(after - before)}


def scores(
    model: TrainedModel,
    learner: MetaLearner,
    shard: Shard,
    ways: Sequence[Callable[["Scorer", Episode], Parameters]],
    *,
    episodes: int,
    seed: int,
    metric: str,
) -> Tensor:
    """A metric of each episode, with the parameters that each way makes of it: float64 [ways, episodes].

    Raises: As for `few_shot`.
    """
    require(episodes >= 2, "few_shot.episodes", episodes, "must be >= 2: one has no interval")
    scorer = Scorer(model.task, model.module, learner)
    rows = []
    for episode in drawn(learner.tasks, shard, episodes, seed):
        found = [scorer.score(way(scorer, episode), episode) for way in ways]
        if metric not in found[0]:
            raise ConfigError(f"few_shot.metric={metric!r}: the task computes only {', '.join(sorted(found[0]))}")
        rows.append([each[metric] for each in found])
    return torch.tensor(rows, dtype=torch.float64).T


def drawn(tasks: Episodes, shard: Shard, count: int, seed: int) -> Iterator[Episode]:
    """Episodes 0..count-1 at the addresses (seed, "few-shot", number), one by one."""
    for first in range(0, count, _AT_ONCE):
        seeds = [derive_seed(seed, "few-shot", number) for number in range(first, min(first + _AT_ONCE, count))]
        support, query = tasks.draw(shard, seeds)
        for index in range(len(seeds)):
            yield at(support, index), at(query, index)


class Scorer:
    """Scores a module with other parameters; its own stay as they are.

    Args:
        task: Computes metrics; of a MetaTask, the one that it judges.
        module: In evaluation mode while it is asked.
        learner: Adapts.
    """

    def __init__(self, task: Task, module: nn.Module, learner: MetaLearner):
        self._task, self._learner = getattr(task, "task", task), learner
        self._model = Functional(self._task, module)
        self.params: Parameters = {name: tensor.clone() for name, tensor in self._model.params().items()}

    def adapted(self, episode: Episode) -> Parameters:
        """The parameters that the learner makes of an episode's support."""
        with evaluating(self._model.module):
            return self._learner.adapt(self._model, self.params, episode[0])

    def score(self, params: Parameters, episode: Episode) -> Mapping[str, float]:
        """The task's metrics on an episode's query."""
        with evaluating(self._model.module), torch.no_grad():
            put(self._model.module, params)
            try:
                return self._task.statistics(self._model.module, episode[1]).compute()
            finally:
                put(self._model.module, self.params)
