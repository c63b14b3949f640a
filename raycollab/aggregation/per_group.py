"""A rule for each group of parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Self, cast

import torch
from torch import Tensor

from raycollab.aggregation.base import OF_ROUND, Aggregator
from raycollab.aggregation.partial import NamedSums, Partial
from raycollab.aggregation.parts import part_of, within
from raycollab.aggregation.private_mean import PrivateMean
from raycollab.aggregation.product import Product
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.rng import derive_seed
from raycollab.settings import require
from raycollab.spec import Coverage, Entry, ParamSpec
from raycollab.types import WEIGHT_OF, Round, State, Update


@dataclass(frozen=True)
class PerGroup(Aggregator):
    """Merges groups of parameters by rules of their own: `PerGroup({"encoder.*": Median(), "*": Mean()})`.

    The first pattern that matches a name decides, for parameters and for float buffers alike. A rule gets the elements
    of its group only, in all vectors, and has a state, a seed and told scalars of its own. Agents that hold only a part
    of the model take part in the groups that they hold something of; in a group that they hold all of they look whole,
    so that a rule over whole vectors can merge it. An agent's weight is its share in each group, averaged by size.

    Args:
        rules: Rules by shell patterns over names, tried in this order.
    Shapes: updates of [d] -> [d]; memory that of the rules for their elements.
    Raises: ConfigError without rules; ModelError for a parameter or buffer that no pattern matches, and for a pattern
        that is left without any; UpdateError if fewer updates hold a group than its rule needs.
    """

    rules: Mapping[str, Aggregator]
    places: Mapping[str, Coverage] = field(default_factory=dict, init=False, repr=False)  # known once it is bound

    partial = Product
    formula = "delta[group] = rule of the group (delta_1[group], ..., delta_k[group])"

    def __post_init__(self) -> None:
        require(bool(self.rules), "PerGroup.rules", dict(self.rules), "give at least one, such as {'*': Mean()}")
        for pattern, rule in self.rules.items():
            if not isinstance(rule, Aggregator):
                raise ConfigError(f"PerGroup.rules[{pattern!r}]={rule!r}: must be an Aggregator, such as Mean()")
            if isinstance(rule, PrivateMean):
                raise ConfigError(
                    f"PerGroup.rules[{pattern!r}]={rule!r}: it counts what all of an update tells, not a group of it: "
                    f"use it alone"
                )
            if rule.validates_on() is not None:
                raise ConfigError(
                    f"PerGroup.rules[{pattern!r}]={rule!r}: it judges whole models: use it alone, per='group'"
                )

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Whatever one of the rules needs."""
        return tuple(sorted({name for rule in self.rules.values() for name in rule.needs}))

    @property
    def weighs(self) -> bool:  # type: ignore[override]
        """Whether all rules do, of whole vectors."""
        return all(rule.weighs and rule.partial is not Product for rule in self.rules.values())

    @property
    def inner(self) -> tuple[Aggregator, ...]:
        """The rules of all groups."""
        return tuple(self.rules.values())

    @property
    def min_updates(self) -> int:
        """The most that one of the rules needs."""
        return max(rule.min_updates for rule in self.rules.values())

    @property
    def takes_discounts(self) -> bool:  # type: ignore[override]
        """Whether all rules do."""
        return all(rule.takes_discounts for rule in self.rules.values())

    @property
    def remakes(self) -> bool:  # type: ignore[override]
        """Whether one of the rules does."""
        return any(rule.remakes for rule in self.rules.values())

    @property
    def laws(self) -> frozenset[str]:
        """Those that all rules hold."""
        return frozenset.intersection(*(rule.laws for rule in self.rules.values()))

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """As each rule does."""
        for rule in self.rules.values():
            rule.check_agents(names, arriving)

    def check_coverage(self, coverage: Coverage) -> None:
        """As each rule does for what the agent holds of its group, if that is anything."""
        for name, rule in self.rules.items():
            here, there = within(coverage, self.places[name])
            if here.params.ranges or here.buffers.ranges:
                rule.check_coverage(there)

    def check(self, total: Partial) -> None:
        """Each group must have as many updates as its rule needs, of a kind that it can merge."""
        for name, part in cast(Product, total).parts.items():
            rule = self.rules[name]
            if part.count < rule.min_updates:
                raise UpdateError(
                    f"PerGroup: {part.count} updates hold something of group {name!r}, and "
                    f"{type(rule).__name__} needs {rule.min_updates}"
                )
            rule.check(part)

    def bind(self, spec: ParamSpec) -> Self:
        """Sort parameters and buffers into groups, and bind each rule to its own."""
        params, buffers = self._sorted(spec.params), self._sorted(spec.buffers)
        parts = {name: ParamSpec(_packed(params[name]), _packed(buffers[name])) for name in self.rules}
        for name, part in parts.items():
            if not part.params and not part.buffers:
                raise ModelError(
                    f"PerGroup: no parameter is left for pattern {name!r}; there are: "
                    f"{', '.join(entry.name for entry in spec.params)}"
                )
        bound = replace(self, rules={name: rule.bind(parts[name]) for name, rule in self.rules.items()})
        object.__setattr__(bound, "places", {name: spec.coverage(part) for name, part in parts.items()})
        return bound

    def _sorted(self, entries: tuple[Entry, ...]) -> dict[str, list[Entry]]:
        """Entries by the first pattern that matches their name."""
        groups: dict[str, list[Entry]] = {name: [] for name in self.rules}
        for entry in entries:
            found = next((name for name in self.rules if fnmatchcase(entry.name, name)), None)
            if found is None:
                raise ModelError(
                    f"PerGroup: no pattern of {', '.join(map(repr, self.rules))} matches {entry.name!r}; "
                    f"add a rule for '*' at the end"
                )
            groups[found].append(entry)
        return groups

    def init(self, params: Tensor) -> State:
        """A state a group."""
        return {name: rule.init(self.places[name].params.take(params)) for name, rule in self.rules.items()}

    def tells(self, state: State) -> dict[str, float]:
        """What the rules tell, each under the name of its group."""
        return {
            _told(group, name): value
            for group, rule in self.rules.items()
            for name, value in rule.tells(state[group]).items()
        }

    def collect(self, update: Update, round: Round) -> Partial:
        """A partial for each group that the agent holds something of."""
        total = Product.of(update)
        for name, rule in self.rules.items():
            part = part_of(update, self.places[name])
            if part is not None:
                total.parts[name] = collected = rule.collect(part, self._round(name, round))
                if self.weighs and isinstance(collected, NamedSums):  # of which no single weight can be seen any more
                    collected.scalars[f"{WEIGHT_OF}{update.agent}"] = (collected.weight, collected.weight)
        return total

    def _round(self, group: str, round: Round) -> Round:
        """The round as the rule of a group sees it."""
        start = _told(group, "")
        told = {name.removeprefix(start): value for name, value in round.scalars.items() if name.startswith(start)}
        return replace(
            round,
            seed=derive_seed(round.seed, group),
            vectors=_Slices(round.vectors, self.places[group]),
            scalars={**round.scalars, **told},
        )

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Let each rule merge its group; groups that nobody sent anything of stay as they are."""
        self.check(total)
        parts = cast(Product, total).parts
        vectors: dict[str, Tensor] = {}
        told: dict[str, float] = {}
        weights: dict[str, float] = {}
        after = dict(state)
        for name in (name for name in self.rules if name in parts):
            rule, place = self.rules[name], self.places[name]
            merged, after[name] = rule.update(
                parts[name], state[name], place.params.take(params), seed=derive_seed(seed, name)
            )
            told |= {key: value for key, value in merged.scalars.items() if key.startswith(OF_ROUND)}
            for agent, share in _shares(parts[name], merged).items():
                weights[agent] = weights.get(agent, 0.0) + share * place.params.count / params.numel()
            for kind, vector in merged.vectors.items():
                whole = vectors.setdefault(kind, torch.zeros(place.of(kind).size))
                place.of(kind).add_into(whole, vector)
        return Update("", float(total.count), vectors, told | weights if self.weighs else told), after


@dataclass(frozen=True)
class _Slices(Mapping[str, Tensor]):
    """A group's elements of vectors, copied out only when they are asked for."""

    whole: Mapping[str, Tensor]
    place: Coverage

    def __getitem__(self, name: str) -> Tensor:
        return self.place.of(name).take(self.whole[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)


def _shares(part: Partial, merged: Update) -> dict[str, float]:
    """Shares of the weight in a group, by the name of a scalar for the agent."""
    summed = {name: weight for name, (weight, _) in part.scalars.items()} if isinstance(part, NamedSums) else {}
    found = {name: weight for name, weight in (summed or merged.scalars).items() if name.startswith(WEIGHT_OF)}
    total = sum(found.values())
    return {name: float(weight / total) for name, weight in found.items()} if total else {}


def _packed(entries: list[Entry]) -> tuple[Entry, ...]:
    """Entries one after another in a vector of their own."""
    packed: list[Entry] = []
    for entry in entries:
        packed.append(replace(entry, offset=packed[-1].stop if packed else 0))
    return tuple(packed)


def _told(group: str, name: str) -> str:
    return f"{group}: {name}"
