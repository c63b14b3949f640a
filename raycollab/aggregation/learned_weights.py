"""Weights of the agents that are learned in each round, on data that nobody trains on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import Aggregator
from raycollab.aggregation.evolution import check_installed, evolved
from raycollab.aggregation.objective import Objective
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import check_whole
from raycollab.aggregation.stack import Stack
from raycollab.data import Source
from raycollab.errors import ConfigError
from raycollab.settings import require, require_one_of
from raycollab.spec import BUFFERS, DELTA, Coverage, Entry, ParamSpec
from raycollab.types import WEIGHT_OF, State, Update
from raycollab.vectors import SLICE

_LOWEST = -10.0  # nats below the weight an agent starts with: no more than 5e-5 of it, and a way back

Run = tuple[int, int, int]  # first and last element, and the group that they belong to


@dataclass(frozen=True)
class LearnedWeights(Aggregator):
    """Mean of the deltas by weights that make the merged model good on a validation set; bad agents end near 0.

    The deltas of the round are there already, so trying other weights costs passes over validation data and no
    training. "gradient" moves all weights by exponentiated gradient: one backward pass over a batch of the set and a
    dot product with each delta a step; it starts from the weights that agents report and what it learned in earlier
    rounds. "cma" draws weights around those of the last round, judges each by a pass over all of the set, and keeps the
    best: an evolution strategy, for losses whose gradient says little. "greedy" takes agents from the best alone to
    the worst, and keeps each that does not raise the loss; those kept count alike. The weights stand in agents.parquet.

    Args:
        validation: Data that the driver opens, of which no row may be in the test set; agents should not train on it
            either.
        per: "agent" gives each agent one weight; "group" one for each module that has parameters.
        method: "gradient", "cma" or "greedy".
        steps: Steps of the gradient in a round, or generations of the evolution strategy.
        rate: Nats that a step moves the weight that it moves most; the others move in proportion. With "cma" the
            deviation of the first generation.
        batch_size: Examples of a step.
        shrink: Nats by which a step of the gradient may shrink all parameters, in proportion to the cosine between them
            and the gradient; 0 leaves them as long as the weights make them.
        on_hosts: Whether hosts may open the validation data too. Those of a run on Ray then judge the candidates of
            "cma", and of "greedy" the agents alone, side by side. A host that lies about them chooses the weights.
    Shapes: updates of [d], k of them -> [d]; memory the updates and a few [d].
    Raises: ConfigError for settings out of range; DataError if rows of the validation set are in the test set.
    Source: the simplex by exponentiated gradient, Kivinen and Warmuth, 1997, with the gradient scaled to 1 in its
        largest element; weights learned on a proxy set as in FedLAW, Li et al., ICML 2023, arXiv 2302.10911, whose
        factor gamma `shrink` learns, from 1 in each round; "greedy" is Wortsman et al., ICML 2022, arXiv 2203.05482,
        Algorithm 1, by loss; "cma" is Hansen, 2016, arXiv 1604.00772.
    """

    validation: Source
    per: str = "agent"
    method: str = "gradient"
    steps: int = 10
    rate: float = 0.2
    batch_size: int = 64
    shrink: float = 0.0
    on_hosts: bool = False
    objective: Objective | None = field(default=None, init=False, repr=False, compare=False)  # handed in by the driver
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    partial = Stack
    formula = "delta = sum_i w_i delta_i,  w on the simplex, to minimise the validation loss at params + delta"

    def __post_init__(self) -> None:
        name = "LearnedWeights"
        if not isinstance(self.validation, Source):
            raise ConfigError(
                f"{name}.validation={self.validation!r}: must be a Source, such as Parquet('val.parquet')"
            )
        require_one_of(f"{name}.per", self.per, ("agent", "group"))
        methods = ("gradient", "cma", "greedy")
        require(self.method in methods, f"{name}.method", self.method, f"must be one of {methods}")
        whole = self.method != "greedy" or self.per == "agent"
        require(whole, f"{name}.per", self.per, "method='greedy' chooses whole agents: set per='agent'")
        require(self.steps >= 1, f"{name}.steps", self.steps, "must be >= 1")
        require(0 < self.rate < math.inf, f"{name}.rate", self.rate, "must be > 0 and finite, in nats")
        require(self.batch_size >= 1, f"{name}.batch_size", self.batch_size, "must be >= 1")
        require(0 <= self.shrink < math.inf, f"{name}.shrink", self.shrink, "must be >= 0 and finite, in nats")
        follows = self.method == "gradient" or not self.shrink
        require(follows, f"{name}.shrink", self.shrink, "follows the gradient: set method='gradient'")
        tries = self.method != "gradient" or not self.on_hosts
        require(tries, f"{name}.on_hosts", self.on_hosts, "the driver follows gradients: set method='cma' or 'greedy'")
        if self.method == "cma":
            check_installed()

    @property
    def laws(self) -> frozenset[str]:
        """Weights sum to 1, unless all is shrunk; copies of an agent move as one where weights follow the gradient."""
        weights = {"weights"} if self.method == "gradient" else set()
        return frozenset({"failure"} | weights | (set() if self.shrink else {"identity"}))

    def validates_on(self) -> Source:
        """The validation set."""
        return self.validation

    def validates_on_hosts(self) -> bool:
        """As it says."""
        return self.on_hosts

    def judged(self, objective: Objective) -> Self:
        """The rule with the driver's objective at the committed vectors."""
        return self._with(objective, self.runs)

    def bind(self, spec: ParamSpec) -> Self:
        """Find out which elements belong to which module."""
        names = list(dict.fromkeys(_module(entry) for entry in (*spec.params, *spec.buffers)))
        groups = {name: place if self.per == "group" else 0 for place, name in enumerate(names)}
        runs = {DELTA: _runs(spec.params, groups), BUFFERS: _runs(spec.buffers, groups)}
        return self._with(self.objective, runs)

    def _with(self, objective: Objective | None, runs: Mapping[str, tuple[Run, ...]]) -> Self:
        bound = replace(self)
        object.__setattr__(bound, "objective", objective)
        object.__setattr__(bound, "runs", runs)
        return bound

    def check_coverage(self, coverage: Coverage) -> None:
        """Only whole vectors can be tried."""
        check_whole(self, coverage)

    def check(self, total: Partial) -> None:
        """Updates must hold whole vectors and have weight."""
        cast(Stack, total).check()
        cast(Stack, total).shares()

    def init(self, params: Tensor) -> State:
        """How far each agent's weights have moved, in nats: nobody's yet."""
        del params
        return {"moved": {}}

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Search from where the last rounds ended, and merge by what was found."""
        stack = cast(Stack, total)
        agents = [update.agent for update in stack.updates]
        groups = 1 + max((group for runs in self.runs.values() for _, _, group in runs), default=0)
        if self.method == "greedy":
            weights, moved, factor = self._soup(stack)[:, None], {}, 1.0
        else:
            start = torch.tensor([state["moved"].get(agent, [0.0] * groups) for agent in agents], dtype=torch.float64)
            find = self._descended if self.method == "gradient" else self._evolved
            end, factor = find(stack, start, params, seed)
            weights = _simplex(stack, end)
            moved = {**state["moved"], **dict(zip(agents, end.tolist(), strict=True))}
        resolved = self._by_agent(agents, weights)
        merged = _shrunk(self._merged(stack, weights), params, factor)
        return Update("", float(stack.count), merged, resolved), {"moved": moved}

    def _descended(self, stack: Stack, moved: Tensor, params: Tensor, seed: int) -> tuple[Tensor, float]:
        """Where the gradient leads: offsets [k, groups] relative to the agents' own weights, and the shrinking."""
        log_factor = 0.0
        for step in range(self.steps):
            weights = _simplex(stack, moved)
            merged = _shrunk(self._merged(stack, weights), params, math.exp(log_factor))
            gradient = self._asked.gradient(merged, part=seed % 2**31 + step, batch_size=self.batch_size)
            slope = self._slopes(stack, gradient)
            slope = slope - (weights * slope).sum(0)
            largest = slope.abs().max()
            if largest > 0:
                moved = _in_bounds(moved - self.rate * slope / largest)
            if self.shrink:
                cosine = float(torch.cosine_similarity(gradient, params + merged[DELTA], dim=0))
                log_factor = min(log_factor - self.shrink * cosine, 0.0)
        return moved, math.exp(log_factor)

    def _evolved(self, stack: Stack, moved: Tensor, params: Tensor, seed: int) -> tuple[Tensor, float]:
        """The best offsets [k, groups] of those drawn; nothing is shrunk."""
        del params

        def losses(points: Sequence[Tensor]) -> Sequence[float]:
            return self._asked.losses(self._merged(stack, _simplex(stack, _in_bounds(point))) for point in points)

        found = evolved(losses, moved, generations=self.steps, spread=self.rate, seed=seed)
        return _in_bounds(found), 1.0

    def _slopes(self, stack: Stack, gradient: Tensor) -> Tensor:
        """The gradient by every weight [k, groups]: dot products with the deltas."""
        runs, deltas = self.runs[DELTA], stack.vectors(DELTA)
        slopes = [[0.0] * stack.count for _ in range(1 + max(group for _, _, group in runs))]
        for start, stop, group in runs:
            along = gradient[start:stop]
            for place, delta in enumerate(deltas):
                slopes[group][place] += float(torch.dot(along, delta[start:stop]))
        return torch.tensor(slopes, dtype=torch.float64).T

    def _soup(self, stack: Stack) -> Tensor:
        """Weights of the greedy soup [k]."""
        alone = self._losses_of(stack, [[place] for place in range(stack.count)])
        order = sorted(range(stack.count), key=lambda place: alone[place])
        kept, best = order[:1], alone[order[0]]
        for place in order[1:]:
            (loss,) = self._losses_of(stack, [[*kept, place]])
            if loss <= best:
                kept, best = [*kept, place], loss
        return _alike(stack.count, kept)

    def _losses_of(self, stack: Stack, tried: Sequence[list[int]]) -> list[float]:
        return self._asked.losses(self._merged(stack, _alike(stack.count, kept)[:, None]) for kept in tried)

    @property
    def _asked(self) -> Objective:
        if self.objective is None:
            raise ConfigError("LearnedWeights: no objective was handed in; give it `rule.judged(objective)` first")
        return self.objective

    def _merged(self, stack: Stack, weights: Tensor) -> dict[str, Tensor]:
        """The vectors that weights [k, groups] make of the updates."""
        merged, by_group = {}, weights.T.tolist()
        for name in stack.names():
            vectors = stack.vectors(name)
            merged[name] = total = torch.empty_like(vectors[0])
            for start, stop, group in self.runs[BUFFERS if name == BUFFERS else DELTA]:
                piece, (first, *others) = total[start:stop], by_group[group]
                torch.mul(vectors[0][start:stop], first, out=piece)
                for vector, weight in zip(vectors[1:], others, strict=True):
                    piece.add_(vector[start:stop], alpha=weight)
        return merged

    def _by_agent(self, agents: list[str], weights: Tensor) -> dict[str, float]:
        """Each agent's weight, the mean over groups by their size."""
        sizes = torch.zeros(weights.shape[1], dtype=torch.float64)
        for start, stop, group in self.runs[DELTA]:
            sizes[group] += stop - start
        mean = (weights * sizes).sum(1) / sizes.sum()
        return {f"{WEIGHT_OF}{agent}": weight for agent, weight in zip(agents, mean.tolist(), strict=True)}


def _simplex(stack: Stack, moved: Tensor) -> Tensor:
    """The agents' own weights times exp(moved), [k, groups], made to sum to 1 in each group."""
    return (stack.shares().log()[:, None] + moved).softmax(0)


def _in_bounds(moved: Tensor) -> Tensor:
    """Offsets relative to the largest in each group, none below the lowest."""
    return (moved - moved.max(0).values).clamp(min=_LOWEST)


def _shrunk(merged: dict[str, Tensor], params: Tensor, factor: float) -> dict[str, Tensor]:
    """A change after which all parameters are this factor times what it would make them."""
    if factor == 1:
        return merged
    return {**merged, DELTA: (params + merged[DELTA]).mul_(factor).sub_(params)}


def _alike(count: int, kept: list[int]) -> Tensor:
    weights = torch.zeros(count, dtype=torch.float64)
    weights[kept] = 1 / len(kept)
    return weights


def _module(entry: Entry) -> str:
    return entry.name.rpartition(".")[0]


def _runs(entries: tuple[Entry, ...], groups: Mapping[str, int]) -> tuple[Run, ...]:
    """Elements of one group that stand side by side, in order, cut where they are long."""
    runs: list[Run] = []
    for entry in entries:
        group = groups[_module(entry)]
        if runs and runs[-1][2] == group and runs[-1][1] == entry.offset:
            runs[-1] = (runs[-1][0], entry.stop, group)
        else:
            runs.append((entry.offset, entry.stop, group))
    return tuple(
        (start, min(start + SLICE, stop), group) for first, stop, group in runs for start in range(first, stop, SLICE)
    )
