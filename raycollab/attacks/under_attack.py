"""A rule whose updates are looked at and forged before it sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from raycollab.aggregation import Aggregator, Node, Partial, Rows, Stack, Wrapper, total_of
from raycollab.aggregation.rows import check_whole
from raycollab.attacks.base import Collusion
from raycollab.spec import DELTA, PARAMS, Coverage
from raycollab.types import Round, State, Update


@dataclass(frozen=True)
class UnderAttack(Wrapper):
    """Another rule, whose bad agents know what the honest ones send.

    Hosts send every update, [k, d]; the driver replaces those of the bad agents and does what the hosts would have done
    for the rule: its `collect`, with the scalars of its `tells` and the share of agents that arrived as
    "participation". A round that brought only honest or only bad agents is left as it is.

    Args:
        rule: Merges the updates.
        collusion: Makes what bad agents send.
        bad: Their names.
        agents: Names of all agents of the experiment, in order.
        seed: The run's seed, for a `collect` that draws.
    """

    rule: Aggregator
    collusion: Collusion
    bad: tuple[str, ...]
    agents: tuple[str, ...]
    seed: int = 0

    partial = Stack
    laws = frozenset()

    def check_coverage(self, coverage: Coverage) -> None:
        """Bad agents look at whole vectors."""
        check_whole(self, coverage)

    def check(self, total: Partial) -> None:
        """As the rule does, of what agents sent: of all that a rule can check, only vectors' values are forged."""
        updates = cast(Stack, total).updates
        params = torch.zeros_like(updates[0].vectors[DELTA])
        self.rule.check(self._collected(updates, self.init(params), params))

    def init(self, params: Tensor) -> State:
        """The rule's state, what the bad agents remember, and the version that a round starts from."""
        return {"rule": self.rule.init(params), "bad": self.collusion.init(), "version": 0}

    def tells(self, state: State) -> dict[str, float]:
        """What the rule tells."""
        return dict(self.rule.tells(state["rule"]))

    def ended(self, state: State) -> str:
        """As the rule does."""
        return self.rule.ended(state["rule"])

    def collect(self, update: Update, round: Round) -> Partial:
        """The update as it is."""
        del round
        return Stack.of(update)

    def update(self, total: Partial, state: State, params: Tensor, *, seed: int) -> tuple[Update, State]:
        """Forge the bad agents' vectors, then let the rule collect and merge."""
        updates, bad = self._forged(cast(Stack, total), state["bad"])
        collected = self._collected(updates, state, params)
        aggregate, rule = self.rule.update(collected, state["rule"], params, seed=seed)
        return aggregate, {"rule": rule, "bad": bad, "version": state["version"] + 1}

    def _collected(self, updates: Sequence[Update], state: State, params: Tensor) -> Partial:
        """What the hosts would have collected for the rule."""
        version = state["version"]
        scalars = {"participation": len(updates) / len(self.agents), **self.tells(state)}
        agents = tuple(update.agent for update in updates)
        round = Round(version + 1, self.seed, version, {PARAMS: params}, scalars, agents=agents)
        everybody = dict.fromkeys((*self.agents, *agents))  # those that joined come last
        places = {name: place for place, name in enumerate(everybody)}
        present = sorted(places[update.agent] for update in updates)
        nodes = [Node(0, places[update.agent], self.rule.collect(update, round)) for update in updates]
        return cast(Partial, total_of(nodes, present))

    def _forged(self, stack: Stack, state: State) -> tuple[list[Update], State]:
        """All updates in order, with the vectors of bad agents replaced; and what these remember."""
        honest = Stack(0, tuple(update for update in stack.updates if update.agent not in self.bad))
        num_bad = len(stack.updates) - len(honest.updates)
        if not honest.updates or not num_bad:
            return list(stack.updates), state
        rows = {name: Rows(honest.vectors(name)) for name in honest.names()}
        chosen, state = self.collusion.plan(rows[DELTA], [update.agent for update in honest.updates], state)
        forged = {name: self.collusion.forge(each, num_bad, chosen) for name, each in rows.items()}
        return [
            update.with_vectors(**{name: vector for name, vector in forged.items() if name in update.vectors})
            if update.agent in self.bad
            else update
            for update in stack.updates
        ], state
