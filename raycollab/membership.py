"""Agents that join and leave between rounds."""

from collections.abc import Iterable, Mapping
from typing import Any

from raycollab.agent import Agent
from raycollab.aggregation import Aggregator
from raycollab.by_name import listed
from raycollab.errors import ConfigError
from raycollab.experiment import Plan
from raycollab.offer import Offer
from raycollab.parts import with_parts
from raycollab.recipe import from_plain, packages, to_plain
from raycollab.report import start_error
from raycollab.roster import Roster
from raycollab.runtime.pool import Pool
from raycollab.types import AgentCard, Failure


class Membership:
    """Lets agents into a run, and out of it.

    Args:
        plan: The experiment.
        pool: The hosts.
        roster: The members.
        rule: Merges their updates.
        offer: What they are to agree to.
    """

    def __init__(self, plan: Plan, pool: Pool, roster: Roster, rule: Aggregator, offer: Offer):
        self._plan = plan
        self._pool = pool
        self._roster = roster
        self._rule = rule
        self._offer = offer

    def join(self, agent: Agent) -> AgentCard:
        """Start a host with this agent alone, let it agree and open its shard, and make it a member.

        Raises: ConfigError if its name is taken, its learner does not fit the run, or no resume could bring it back;
            the error with which it failed to agree or to open its shard.
        """
        (agent,) = with_parts([agent], self._plan.task, self._plan.exchange)
        if agent.name in self._roster.names:
            raise ConfigError(f"add_agent: there is an agent {agent.name!r} already; give each its own name")
        recipe = to_plain(agent)
        if strange := sorted(packages(agent) - {"raycollab", *self._plan.packages}):
            named, more = (", ".join(each) for each in (self._plan.packages, strange))
            raise ConfigError(
                f"add_agent: agent {agent.name!r} is made of classes of {more}, and a resume imports only the packages "
                f"that the experiment names, {named}: it could not bring the agent back; give it classes of those, or "
                f"begin a run whose experiment names {more}"
            )
        card = self._opened(agent, self._roster.num_joined)
        self._roster.join(card, recipe)
        return card

    def leave(self, name: str) -> None:
        """Let an agent go; what it remembers is forgotten.

        Raises: ConfigError if there is no such agent, or too few would be left for a round.
        """
        names = self._roster.names
        if name not in names:
            raise ConfigError(f"remove_agent: there is no agent {name!r}; the agents are {listed(names)}")
        left = len(names) - 1
        least = max(1, self._plan.failure.quorum(left), self._rule.min_updates)
        if left < least:
            raise ConfigError(f"remove_agent: without {name!r} {left} agents are left, and a round needs {least}")
        self._roster.leave(name)

    def rejoin(self, joined: Iterable[Mapping[str, Any]]) -> list[AgentCard]:
        """Start those again that had joined before a run was broken off."""
        made = [(from_plain(each["agent"], trusted=self._plan.packages), each["slot"]) for each in joined]
        return [self._opened(agent, slot) for agent, slot in made]

    def _opened(self, agent: Agent, slot: int) -> AgentCard:
        if self._plan.keys and agent.key is None:
            raise ConfigError(
                f"agent {agent.name!r} has no key, and the others of this run sign what they send: give it its "
                f"Agent.key, made by `raycollab keys new NAME`"
            )
        learner = agent.learner
        lacking = sorted(set(self._rule.needs) - set(learner.sends))
        lacking += sorted({*learner.needs, *learner.models} - {*self._plan.needs, *self._plan.models})
        if lacking:
            raise ConfigError(
                f"agent {agent.name!r}: {type(learner).__name__} does not fit this run, which lacks {lacking}; "
                f"give it a learner like that of the others"
            )
        outcome = self._pool.add(agent, self._offer, slot)
        if isinstance(outcome, Failure):
            raise start_error([outcome], 1)
        return outcome
