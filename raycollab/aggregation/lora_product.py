"""Adapters of several ranks, merged by their products."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import OF_ROUND, Aggregator
from raycollab.aggregation.low_rank import Factors, Pair, Spectrum, lost_energy, pairs_of, ranks_within
from raycollab.aggregation.mean import Mean
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.parts import part_of
from raycollab.aggregation.product import Product
from raycollab.aggregation.stack import Stack
from raycollab.errors import ModelError, UpdateError
from raycollab.settings import require
from raycollab.spec import DELTA, PARAMS, Coverage, ParamSpec, Segments
from raycollab.types import Round, State, Update

_FACTORS, _REST = "factors", "rest"
_ROW = 3**-0.5  # norm of a row of A as peft begins: what it learns by is as fast in later rounds


@dataclass(frozen=True)
class LoRAProduct(Aggregator):
    """Mean of what adapters add to their layers, B A, and not of A and B apart: ranks may differ by agent.

    Agents of a smaller rank than the driver's hold the first rows of A and columns of B, with Exchange(slices=True).
    The mean product is cut to the driver's rank by its singular values, the largest components first, so that the
    first r are the best that an agent of rank r can have. Components that an agent does not hold count as they were.
    Rows of A are orthogonal and as long as peft makes them; B holds the singular values. A component that is not in
    use has B = 0, and learns again like a new one.

    What an agent keeps of its steps, such as momentum, is of factors that are others after the round: leave keep_state
    and keep_momentum off. Every agent must scale its adapters alike: see LoRA.alpha.

    Args:
        rule: Merges all other parameters and the buffers; its weights count for adapters too.
        budget: Components in use in all layers together; those with the smallest singular values of all layers are
            set to zero, anew in each round, and come back if they have grown larger than others. None for no limit.
    Shapes: updates of [d], k of them -> [d]; memory the factors of all agents, and that of the rule for the rest. Time
        goes by the square of the sum of their ranks, times a layer's width.
    Raises: ModelError before the first round for a model without adapters of low rank, or of which only one factor is
        exchanged; ConfigError for a budget that is none.
    Source: Bai et al., NeurIPS 2024, arXiv 2402.11505 (FlexLoRA), where components that an agent does not
        hold count as zero; `budget` after Zhang et al., ICLR 2023, arXiv 2303.10512 (AdaLoRA), by singular values
        alone.
    """

    rule: Mean = Mean()  # noqa: RUF009 - frozen
    budget: int | None = None
    pairs: tuple[Pair, ...] = field(default=(), init=False, repr=False)  # known once it is bound
    rest: Coverage | None = field(default=None, init=False, repr=False)  # what is no adapter; None for nothing

    partial = Product
    remakes = True
    formula = "B A = the largest components of sum_i w_i B_i A_i / sum_i w_i"

    def __post_init__(self) -> None:
        accepted = "must be a Mean: put other parameters under a rule of their own with PerGroup"
        require(isinstance(self.rule, Mean), "LoRAProduct.rule", self.rule, accepted)
        good = self.budget is None or self.budget >= 1
        require(good, "LoRAProduct.budget", self.budget, "must be >= 1 components in all layers, or null for no limit")

    @property
    def inner(self) -> tuple[Aggregator, ...]:
        """The rule for the rest."""
        return (self.rule,)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the mean weighs by."""
        return self.rule.needs

    @property
    def laws(self) -> frozenset[str]:
        """Those of the mean; but equal factors become others of the same product."""
        return self.rule.laws - {"identity"}

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """As the mean does."""
        self.rule.check_agents(names, arriving)

    def bind(self, spec: ParamSpec) -> Self:
        """Find the adapters, and what else there is."""
        pairs = pairs_of(spec.params)
        if not pairs:
            raise ModelError(
                f"LoRAProduct: no adapter of low rank is exchanged; there are: "
                f"{', '.join(entry.name for entry in spec.params)}. Wrap the net in rc.models.Adapted(net, LoRA(...)), "
                f"or take a rule such as Mean()"
            )
        most = sum(pair.rank for pair in pairs)
        accepted = f"must be below the {most} components that the adapters have, or null for no limit"
        require(self.budget is None or self.budget < most, "LoRAProduct.budget", self.budget, accepted)
        rest = spec.without([entry.name for pair in pairs for entry in (pair.down, pair.up)])
        bound = replace(self, rule=self.rule.bind(rest))
        object.__setattr__(bound, "pairs", pairs)
        object.__setattr__(bound, "rest", spec.coverage(rest) if rest.params or rest.buffers else None)
        return bound

    def check_coverage(self, coverage: Coverage) -> None:
        """Of each adapter, an agent holds both factors or none, and of one rank."""
        held = coverage.params.put(torch.zeros(coverage.params.size), torch.ones(coverage.params.count))
        for pair in self.pairs:
            try:
                _rank(pair, held)
            except UpdateError as error:
                raise ModelError(f"LoRAProduct: {error}") from error

    def check(self, total: Partial) -> None:
        """Somebody must have weight."""
        parts = cast(Product, total).parts
        cast(Stack, parts[_FACTORS]).shares()
        if _REST in parts:
            self.rule.check(parts[_REST])

    def weighed(self, update: Update) -> Update:
        """With the mean's weight."""
        return self.rule.weighed(update)

    def collect(self, update: Update, round: Round) -> Partial:
        """The factors that the agent ended with, and the mean's partial of the rest.

        Raises: UpdateError for one factor without the other.
        """
        update = self.weighed(update)
        total, start, delta = Product.of(update), round.vectors[PARAMS], update.vectors[DELTA]
        held = update.segments(DELTA) or Segments.all(len(start))
        ended = held.put(start, held.take(start) + delta)
        there = held.put(torch.zeros_like(start), torch.ones_like(delta))
        ranks = [(pair, rank) for pair in self.pairs if (rank := _rank(pair, there))]
        factors = {pair.layer: pair.flat(_first(pair.of(ended), rank)) for pair, rank in ranks}
        total.parts[_FACTORS] = Stack.of(replace(update, vectors=factors, coverage=None))
        if self.rest is not None and (rest := part_of(update, self.rest)) is not None:
            total.parts[_REST] = self.rule.collect(rest, round)
        return total

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Add up products, keep their largest components, and let the mean merge the rest."""
        parts = cast(Product, total).parts
        updates = cast(Stack, parts[_FACTORS]).updates
        spectra = {pair.layer: Spectrum.of(list(_terms(pair, updates, params))) for pair in self.pairs}
        ranks = ranks_within(spectra, {pair.layer: pair.rank for pair in self.pairs}, self.budget)
        delta = torch.zeros_like(params)
        for pair in self.pairs:
            before, after = pair.of(params), pair.of(delta)
            made = _factors(spectra[pair.layer], ranks[pair.layer], before)
            for old, new, moved in zip(before, made, after, strict=True):
                torch.sub(new, old, out=moved)
        vectors = {DELTA: delta}
        if _REST in parts and self.rest is not None:
            merged, state = self.rule.update(parts[_REST], state, self.rest.params.take(params), seed=seed)
            for kind, vector in merged.vectors.items():
                place = self.rest.of(kind)
                place.add_into(vectors.setdefault(kind, torch.zeros(place.size)), vector)
        told = {f"rank/{layer}": float(rank) for layer, rank in ranks.items()}
        told |= {"energy_lost": lost_energy(spectra, ranks)}
        scalars = {f"{OF_ROUND}{name}": value for name, value in told.items()}
        return Update("", float(total.count), vectors, scalars), state


def _rank(pair: Pair, held: Tensor) -> int:
    """How many components an agent holds.

    Raises: UpdateError for factors of different ranks.
    """
    up, down = (int(factor.sum(dtype=torch.float64)) for factor in pair.of(held))
    if up * pair.width != down * pair.height:
        raise UpdateError(
            f"adapter {pair.layer!r}: {down // pair.width} rows of A and {up // pair.height} columns of B make no "
            f"product: exchange, or withhold, both or neither"
        )
    return up // pair.height


def _first(factors: Factors, rank: int) -> Factors:
    return factors[0][:, :rank], factors[1][:rank]


def _terms(pair: Pair, updates: Sequence[Update], params: Tensor) -> Iterator[Factors]:
    """What adds up to the mean product: the agents' shares of it, and the old components that some do not hold."""
    holders = [(update.weight * update.discount, pair.unflat(update.vectors[pair.layer]))
               for update in updates if pair.layer in update.vectors]  # fmt: skip
    weight = sum(each for each, _ in holders)
    up, down = pair.of(params)
    if not weight > 0:
        yield up, down
        return
    for own, factors in holders:
        yield factors[0].double() * (own / weight), factors[1].double()
    lack = torch.tensor([sum(own for own, (_, held) in holders if len(held) <= j) for j in range(pair.rank)])
    missed = lack > 0
    yield up[:, missed].double() * (lack[missed].double() / weight), down[missed].double()


def _factors(spectrum: Spectrum, rank: int, before: Factors) -> Factors:
    """The factors of a layer with so many components in use; the other rows of A are there to begin with."""
    up, down = torch.zeros_like(before[0]), before[1].clone()
    count = min(len(spectrum), len(down))
    up[:, :rank] = spectrum.up[:, :rank] * (spectrum.values[:rank] / _ROW)
    down[:count] = spectrum.down[:count] * _ROW
    return up, down
