"""The members of a run, and what the driver knows of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

from raycollab.config import FailureConfig
from raycollab.report import start_error
from raycollab.selection import Candidate
from raycollab.types import AgentCard, AgentReport, Failure

_NOT_ITS_FAULT = ("ActorUnavailableError",)  # of agents that were not asked, as their actor was not there


class Roster:
    """Who can be selected, with what they remember, how they did, and who is left out for a while.

    Args:
        names: The agents that the experiment begins with, in order.
        policy: When an agent that keeps failing is left out.
    """

    def __init__(self, names: Sequence[str], policy: FailureConfig):
        self.names = list(names)  # members, ready or not, in the order in which they joined
        self.memory: dict[str, int] = {}  # those that keep private state, and the committed round it is of
        self.joined: dict[str, Any] = {}  # those that came later: the plain data that makes them again, and their slot
        self.num_joined = 0  # ever, those that left again among them
        self.rejoined: dict[str, int] = {}  # the newest round that began without the memory of the one before
        self._policy = policy
        self._candidates: dict[str, Candidate] = {}
        self._losses: dict[str, float] = {}  # the newest of each member, ready or not
        self._in_a_row: dict[str, int] = {}  # rounds that an agent failed in a row
        self._until: dict[str, int] = {}  # the last round of its quarantine

    def admit(self, outcomes: Sequence[AgentCard | Failure]) -> list[AgentCard]:
        """Those that are ready at the start.

        Raises: DataError, TaskMismatchError or ResourceError with every agent that failed, unless on_agent_failure is
            "skip" and enough are left.
        """
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        cards = [outcome for outcome in outcomes if isinstance(outcome, AgentCard)]
        enough = self._policy.on_agent_failure == "skip" and len(cards) >= self._policy.quorum(len(outcomes))
        if failures and not enough:
            raise start_error(failures, len(outcomes))
        self.open(cards)
        return cards

    def open(self, cards: Iterable[AgentCard]) -> None:
        """These agents are ready."""
        losses = self._losses
        self._candidates |= {c.agent: Candidate(c.agent, c.examples, losses.get(c.agent, nan)) for c in cards}

    def join(self, card: AgentCard, recipe: Any) -> None:
        """A ready agent joins; its recipe is plain data."""
        self.names.append(card.agent)
        self.joined[card.agent] = {"slot": self.num_joined, "agent": recipe}
        self.num_joined += 1
        self.open([card])

    def leave(self, name: str) -> None:
        """An agent leaves, and what is known of it is forgotten."""
        self.names.remove(name)
        for known in (self.memory, self.joined, self._candidates, self._losses, self._in_a_row, self._until):
            known.pop(name, None)

    def is_ready(self, name: str) -> bool:
        """Whether an agent has opened its shard."""
        return name in self._candidates

    @property
    def size(self) -> int:
        """Agents that are ready."""
        return len(self._candidates)

    def candidates(self, round: int, least: int) -> list[Candidate]:
        """Those that can be selected: none in quarantine, unless a round could not do without them."""
        ready = [self._candidates[name] for name in self.names if name in self._candidates]
        free = [candidate for candidate in ready if self._until.get(candidate.name, 0) < round]
        return free if len(free) >= least else ready

    def quarantined(self, round: int) -> dict[str, int]:
        """Those that are left out of a round, and until which."""
        return {name: until for name, until in self._until.items() if until >= round}

    def committed(self, round: int, reports: Iterable[AgentReport], failures: Iterable[Failure]) -> list[Failure]:
        """Take note of a committed round; returns the failures, each with what is done about it."""
        for report in reports:
            self._in_a_row.pop(report.agent, None)
            if report.remembers:
                self.memory[report.agent] = round
            if report.fresh:
                self.rejoined[report.agent] = round
            if report.agent in self._candidates:
                self._losses[report.agent] = report.loss
                self._candidates[report.agent] = replace(self._candidates[report.agent], loss=report.loss)
        return [self._judged(round, failure) for failure in failures]

    def _judged(self, round: int, failure: Failure) -> Failure:
        name, after = failure.agent, self._policy.quarantine_after
        if failure.error in _NOT_ITS_FAULT:
            return replace(failure, decision=failure.decision or "left out of this round")
        self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
        if after is None or self._in_a_row[name] < after:
            return replace(failure, decision=failure.decision or "left out of this round")
        del self._in_a_row[name]
        self._until[name] = round + self._policy.quarantine_rounds
        return replace(
            failure, decision=f"failed {after} rounds in a row: in quarantine until round {self._until[name]}"
        )

    def state_dict(self) -> dict[str, Any]:
        """What the next round depends on."""
        return {
            "members": list(self.names),
            "memory": dict(self.memory),
            "joined": dict(self.joined),
            "num_joined": self.num_joined,
            "rejoined": dict(self.rejoined),
            "losses": dict(self._losses),
            "in_a_row": dict(self._in_a_row),
            "until": dict(self._until),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know this instead; who has left since the run began is no candidate any more."""
        self.names = list(state["members"])
        self.memory, self.joined, self.rejoined = (dict(state[name]) for name in ("memory", "joined", "rejoined"))
        self.num_joined = state["num_joined"]
        self._in_a_row, self._until = dict(state["in_a_row"]), dict(state["until"])
        self._losses = dict(state["losses"])
        ready = self._candidates
        self._candidates = {
            name: replace(ready[name], loss=self._losses.get(name, nan)) for name in self.names if name in ready
        }
