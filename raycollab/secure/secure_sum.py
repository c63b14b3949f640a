"""A rule of which nobody sees the single updates."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import ceil, inf
from typing import cast

from torch import Tensor

from raycollab.aggregation import (
    AgentSide,
    Aggregator,
    DriverSide,
    Identity,
    Partial,
    PrivateMean,
    WeightedSum,
    Wrapper,
    made_in,
)
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.secure.fixed_point import MOST_EXAMPLES, Form
from raycollab.secure.masked_sum import MaskedSum
from raycollab.settings import require
from raycollab.spec import Coverage
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class SecureSum(Wrapper):
    """Another rule, merged from a sum under masks: hosts and driver see no update of one agent, only the sum of all.

    Each agent writes weight times update as whole numbers of a common unit and adds a mask of its own and one with each
    other agent of the round; the latter cancel. Then the agents whose updates are there help to take their own masks
    away, and those with agents that have dropped out. The sum of whole numbers is exact: no order, no host and no mask
    changes a bit. What it protects and what not stands in docs/trust.md.

    Args:
        rule: Merges the sum; one that needs nothing of single updates, such as Mean.
        min_agents: Updates that a sum needs to be opened, >= 3: of the sum of two, each knows the other's.
        threshold: Share of a round's agents without which masks cannot be taken away, in (0.5, 1]. A round survives as
            many dropouts as the others are; a driver that lies to agents needs accomplices among them, more than
            2 * threshold - 1 of all.
        bits: Of a number on the wire: 32 costs what a float32 does; 64 twice that, for a unit 2**32 times finer.
        clip: Largest size of an element of a vector; what is larger is cut to it on the agent, and the round's notes
            say how many were. After ClipNorm(c) no element of the delta is above c.
        max_weight: Largest weight of an agent. None takes that of an agent with the most examples of the round's
            agents, rounded up to a power of two, which the driver tells all.
    Shapes: updates of [d] -> [d]; bits / 8 bytes an element on the wire, and a mask [d] per pair of agents: 1 ms for a
        million elements. An element is rounded by clip * max_weight * agents / 2**bits at most, over its weight.
    Raises: ConfigError for a rule that needs single updates, or whose weights have no known limit; UpdateError for an
        update of a weight above max_weight; ModelError for agents that exchange different parts of the model.
    Source: Bonawitz et al., CCS 2017, protocol of section 4, with the consistency check of the active setting: tags by
        pairwise keys in the place of signatures, and keys signed where parties have any. Every pair has a mask.
    """

    rule: Aggregator
    min_agents: int = 3
    threshold: float = 2 / 3
    bits: int = 32
    clip: float = 8.0
    max_weight: float | None = None

    partial = MaskedSum
    formula = "rule(sum_i weight_i delta_i), of which only the sum is seen"
    sums = False
    hides_updates = True

    def __post_init__(self) -> None:
        require(self.min_agents >= 3, "SecureSum.min_agents", self.min_agents,
                "must be >= 3: of the sum of two, each can tell what the other sent")  # fmt: skip
        require(0.5 < self.threshold <= 1, "SecureSum.threshold", self.threshold, "must be in (0.5, 1]")
        require(self.bits in (32, 64), "SecureSum.bits", self.bits, "must be 32 or 64")
        require(0 < self.clip < inf, "SecureSum.clip", self.clip, "must be > 0 and finite")
        positive = self.max_weight is None or 0 < self.max_weight < inf
        require(positive, "SecureSum.max_weight", self.max_weight, "must be > 0 and finite, or null")
        fits = isinstance(self.rule, Aggregator) and self.rule.maskable and self.rule.partial is WeightedSum
        accepted = (
            "must merge a plain sum of all updates, such as Mean(): of single updates, or of sums of another kind, "
            "there is nothing to be seen under masks"
        )
        if isinstance(self.rule, PrivateMean):
            accepted = "must leave the noise to the agents: chain(NoiseShare(...), SecureSum(Mean('uniform')))"
        require(fits, "SecureSum.rule", self.rule, accepted)
        if self.max_weight is None and self.rule.largest_weight(1) is None:
            raise ConfigError(
                f"SecureSum.max_weight=None: {self.rule!r} gives weights that differ by round; set it to the largest"
            )
        if find_spec("cryptography") is None:
            raise ConfigError("SecureSum needs cryptography: pip install 'raycollab[trust]', on every node")

    @property
    def laws(self) -> frozenset[str]:
        """Those of the rule, within the range of the fixed point."""
        return self.rule.laws

    @property
    def min_updates(self) -> int:
        """What a sum needs to be opened, or the rule to mean something."""
        return max(self.min_agents, self.rule.min_updates)

    def needed(self, count: int) -> int:
        """How many of so many agents are needed to take masks away."""
        return max(2, ceil(self.threshold * count - 1e-9))

    def check_coverage(self, coverage: Coverage) -> None:
        """Masks cancel where all agents send the same elements."""
        if not coverage.full:
            raise ModelError(
                "SecureSum: the agent exchanges only a part of the model, and masks cancel only where all do"
            )
        self.rule.check_coverage(coverage)

    def check_agents(self, names: Sequence[str], arriving: int) -> None:
        """As the rule does."""
        self.rule.check_agents(names, arriving)

    @property
    def weighs(self) -> bool:  # type: ignore[override]
        """Where weights say nothing that masks hide."""
        return self.rule.weighs and self._tells_weights

    def weighed(self, update: Update) -> Update:
        """As the rule does, unless that is by what only the sum may tell."""
        return self.rule.weighed(update) if self._tells_weights else update

    @property
    def _tells_weights(self) -> bool:
        return self.rule.largest_weight(1) is not None

    def check(self, total: Partial) -> None:
        """As the rule does, of the opened sum."""
        self.rule.check(_opened(total))

    def agent_side(self, who: Identity) -> AgentSide:
        """What masks an agent's updates."""
        return import_module("raycollab.secure.agent_side").SecureAgent(self, who)

    def driver_side(self, run: str) -> DriverSide:
        """What opens sums."""
        return import_module("raycollab.secure.driver_side").SecureDriver(self, run)

    def collect(self, update: Update, round: Round) -> Partial:
        """What the rule collects of one update, as residues; still without masks.

        Raises: UpdateError for a weight that is too large.
        """
        sums = cast(WeightedSum, self.rule.collect(update, round))
        if any(set(each) != {None} for each in sums.vectors.values()):
            raise UpdateError(f"agent {update.agent!r} sends only a part of the vectors, and masks cancel where all do")
        vectors = tuple((name, sums.vectors[name][None].vector.numel()) for name in sorted(sums.vectors))
        form = Form(
            self.bits,
            self.clip,
            self._max_weight(round),
            len(round.agents),
            vectors,
            tuple(sorted(sums.scalars)),
            made_in(round),
        )
        return MaskedSum(1, {form: form.encode(sums, update.agent)})

    def _max_weight(self, round: Round) -> float:
        if self.max_weight is not None:
            return self.max_weight
        return cast(float, self.rule.largest_weight(round.scalars.get(MOST_EXAMPLES, 1.0)))

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Merge the opened sum by the rule."""
        return self.rule.update(_opened(total), state, params, seed=seed)


def _opened(total: Partial) -> WeightedSum:
    """The sum that the driver's side has opened; or one that never had a mask."""
    if isinstance(total, WeightedSum):
        return total
    form, residues = cast(MaskedSum, total).whole()
    return form.decode(residues)[0]
