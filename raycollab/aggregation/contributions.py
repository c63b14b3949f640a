"""A weighted mean that also says what each agent's update was worth."""

import math
from dataclasses import dataclass, field, replace
from typing import Self, cast

import torch
from torch import Tensor

from raycollab.aggregation.mean import Mean
from raycollab.aggregation.objective import Objective
from raycollab.aggregation.partial import Partial
from raycollab.aggregation.rows import RowRule, Rows
from raycollab.aggregation.stack import Stack
from raycollab.contribution import MOST_EXACT, Coalition, Utility, gtg_shapley, leave_one_out, shapley
from raycollab.data import Source
from raycollab.errors import ConfigError, UpdateError
from raycollab.settings import require
from raycollab.spec import DELTA
from raycollab.types import ALIKE_OF, STANDING_OF, WEIGHT_OF, WORTH_OF, Round, State, Update

_METHODS = ("gtg", "shapley", "leave_one_out", "similarity")


@dataclass(frozen=True, kw_only=True)
class Contributions(RowRule):
    """Weighted mean of the deltas that also says what each was worth: how much it lowered the loss on a validation set.

    The worth of a coalition is how much lower the loss is at the weighted mean of its members' updates than at the
    common parameters; what stands right of the rule in its chain is not applied to it. Worths stand in agents.parquet,
    this round's as `contribution` and the mean over the agent's rounds as `standing`, with the largest cosine to
    another agent's delta as `alike`. A note names agents that add next to nothing over three rounds and more, and
    copies.

    Args:
        validation: Data that the driver alone opens, of which no row may be in the test set; agents should not train
            on it either.
        rule: The mean whose weights count; other rules have no worth of a coalition.
        method: "gtg", Shapley values from a sample of permutations; "shapley", over all coalitions, for up to 8 agents
            a round; "leave_one_out"; or "similarity", the cosine of each delta and the direction in which the
            validation loss falls: one backward pass, no coalitions.
        weigh: Whether an agent's weight is multiplied by its standing, this round included: who has not lowered the
            loss so far counts 0. A round in which nobody has goes by the rule's weights.
        truncate: Share of the round's gain that "gtg" leaves out of a permutation.
        batch_size: Examples of the backward pass of "similarity".
    Shapes: updates of [d], k of them -> [d]; memory the updates and a few [d].
    Raises: ConfigError for settings out of range, a rule that is no mean, or more agents than "shapley" can take;
        DataError if rows of the validation set are in the test set.
    Source: Liu et al., ACM TIST 2022, arXiv 2109.02053 (GTG-Shapley, by loss in place of accuracy); "similarity" in the
        manner of Xu et al., NeurIPS 2021 (cosine gradient Shapley), with the validation gradient for the mean.
    """

    validation: Source
    rule: Mean = Mean()  # noqa: RUF009 - frozen
    method: str = "gtg"
    weigh: bool = False
    truncate: float = 0.01
    batch_size: int = 1024
    objective: Objective | None = field(default=None, init=False, repr=False, compare=False)  # handed in by the driver

    weighs = True
    formula = "v_i = Shapley value of delta_i for L(params) - L(params + sum_{i in S} w_i delta_i / sum_{i in S} w_i)"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = "Contributions"
        if not isinstance(self.validation, Source):
            raise ConfigError(
                f"{name}.validation={self.validation!r}: must be a Source, such as Parquet('val.parquet')"
            )
        accepted = "must be a Mean: a coalition of agents is worth what its weighted mean is, and other rules have none"
        require(isinstance(self.rule, Mean), f"{name}.rule", self.rule, accepted)
        require(not self.rule.exact, f"{name}.rule", self.rule, "must not be exact: updates are kept one by one")
        require(self.method in _METHODS, f"{name}.method", self.method, f"must be one of {_METHODS}")
        require(0 <= self.truncate < 1, f"{name}.truncate", self.truncate, "must be in [0, 1)")
        require(self.batch_size >= 1, f"{name}.batch_size", self.batch_size, "must be >= 1")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the mean weighs by."""
        return self.rule.needs

    @property
    def laws(self) -> frozenset[str]:
        """Those of the mean, while nobody is weighed by worth."""
        return frozenset({"failure", "identity"}) if self.weigh else self.rule.laws

    def check_agents(self, names: list[str], arriving: int) -> None:  # type: ignore[override]
        """As the mean does; and "shapley" takes only so many."""
        self.rule.check_agents(names, arriving)
        if self.method == "shapley" and arriving > MOST_EXACT:
            raise ConfigError(
                f"Contributions.method='shapley': a round brings {arriving} updates, and {MOST_EXACT} are the most for "
                f"exact values; set method='gtg'"
            )

    def validates_on(self) -> Source:
        """The validation set."""
        return self.validation

    def judged(self, objective: Objective) -> Self:
        """The rule with the driver's objective at the committed vectors."""
        bound = replace(self)
        object.__setattr__(bound, "objective", objective)
        return bound

    def weighed(self, update: Update) -> Update:
        """With the mean's weight."""
        return self.rule.weighed(update)

    def collect(self, update: Update, round: Round) -> Partial:
        """The update with the mean's weight."""
        del round
        return Stack.of(self.weighed(update))

    def check(self, total: Partial) -> None:
        """Updates must hold whole vectors and have weight."""
        super().check(total)
        cast(Stack, total).shares()
        if self.method == "shapley" and total.count > MOST_EXACT:
            raise UpdateError(f"{total.count} updates, and method='shapley' takes {MOST_EXACT}: set method='gtg'")

    def init(self, params: Tensor) -> State:
        """Nobody's worth is known."""
        del params
        return {"sums": {}, "rounds": {}}

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Find the worths, then merge."""
        stack = cast(Stack, total)
        agents, shares = [update.agent for update in stack.updates], stack.shares()
        worths = self._worths(stack, shares, params, seed)
        sums, rounds = dict(state["sums"]), dict(state["rounds"])
        for agent, worth in zip(agents, worths, strict=True):
            sums[agent], rounds[agent] = sums.get(agent, 0.0) + worth, rounds.get(agent, 0) + 1
        standing = [sums[agent] / rounds[agent] for agent in agents]
        if self.weigh:
            earned = shares * torch.tensor(standing, dtype=torch.float64).clamp(min=0)
            shares = earned / earned.sum() if earned.sum() > 0 else shares
        told = {WORTH_OF: worths, STANDING_OF: standing, ALIKE_OF: self._alike(stack)}
        told |= {WEIGHT_OF: shares.tolist()} if self.weigh else {}
        scalars = {
            f"{name}{agent}": value
            for name, values in told.items()
            for agent, value in zip(agents, values, strict=True)
        }
        return Update("", float(stack.count), self._merged(stack, shares), scalars), {"sums": sums, "rounds": rounds}

    def _worths(self, stack: Stack, shares: Tensor, params: Tensor, seed: int) -> list[float]:
        if self.objective is None:
            raise ConfigError("Contributions: no objective was handed in; give it `rule.judged(objective)` first")
        asked, nothing = self.objective, {name: torch.zeros_like(stack.vectors(name)[0]) for name in stack.names()}
        if self.method == "similarity":
            gradient = asked.gradient(nothing, part=seed % 2**31, batch_size=self.batch_size)
            return [-_cosine(gradient, delta) for delta in stack.vectors(DELTA)]

        def worth(members: Coalition) -> float:
            kept = torch.zeros_like(shares)
            kept[list(members)] = shares[list(members)]
            change = self._merged(stack, kept / kept.sum()) if kept.sum() > 0 else nothing
            return -asked.loss(change)

        utility = Utility(worth, stack.count)
        if self.method == "shapley":
            return shapley(utility)
        if self.method == "leave_one_out":
            return leave_one_out(utility)
        return gtg_shapley(utility, seed=seed, truncate=self.truncate)

    def _merged(self, stack: Stack, shares: Tensor) -> dict[str, Tensor]:
        return {name: Rows(stack.vectors(name), self.chunk_bytes).combine(shares) for name in stack.names()}

    def _alike(self, stack: Stack) -> list[float]:
        """The largest cosine of each delta to another one."""
        gram = self.rows(stack, DELTA).gram()
        norms = gram.diagonal().clamp(min=0).sqrt()
        cosines = gram / (norms[:, None] * norms).clamp(min=1e-300)
        cosines.fill_diagonal_(-1.0)
        return cosines.max(1).values.tolist()


def _cosine(one: Tensor, other: Tensor) -> float:
    found = float(torch.cosine_similarity(one.double(), other.double(), dim=0))
    return found if math.isfinite(found) else 0.0
