"""The members of a run, and what the driver knows of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

from raycollab.config import FailureConfig, RunConfig
from raycollab.guard import Guard
from raycollab.report import start_error
from raycollab.selection import Candidate
from raycollab.types import AgentCard, AgentReport, Assignment, Failure

_SPENT = "BudgetError"
_NOT_ITS_FAULT = ("ActorUnavailableError",)  # of agents that were not asked, as their actor was not there


class Roster:
    """Who can be selected, with what they remember, how they did, and who is left out for a while.

    Args:
        names: The agents that the experiment begins with, in order.
        policy: When an agent that keeps failing is left out.
        guard: Who is harmed, and weighs more for it; None looks at nobody.
    """

    def __init__(self, names: Sequence[str], policy: FailureConfig, guard: Guard | None = None):
        self.guard = guard or Guard(RunConfig(), ("", True))
        self.names = list(names)  # members, ready or not, in the order in which they joined
        self.memory: dict[str, int] = {}  # those that keep private state, and the committed round it is of
        self.joined: dict[str, Any] = {}  # those that came later: the plain data that makes them again, and their slot
        self.num_joined = 0  # ever, those that left again among them
        self.spent: dict[str, int] = {}  # those whose privacy budget is spent, and since which round
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
        for known in (self.memory, self.joined, self.spent, self._candidates, self._losses):
            known.pop(name, None)
        for counted in (self._in_a_row, self._until):
            counted.pop(name, None)

    def assigned(self, assignment: Assignment) -> Assignment:
        """An assignment with what the agent remembers, and with more weight if it is harmed."""
        name, factor = assignment.agent, self.guard.factor(assignment.agent)
        return replace(assignment, last_round=self.memory.get(name, 0), discount=assignment.discount * factor)

    def is_ready(self, name: str) -> bool:
        """Whether an agent has opened its shard."""
        return name in self._candidates

    @property
    def size(self) -> int:
        """Agents that are ready and have something left to spend."""
        return sum(name not in self.spent for name in self._candidates)

    def examples(self, names: Iterable[str]) -> dict[str, int]:
        """How many training examples those of these agents have that are members still."""
        return {name: self._candidates[name].examples for name in names if name in self._candidates}

    def shares(self, round: int, count: int) -> dict[str, float]:
        """What a round of so many agents tells them: the share of all, and the most that it is of those that can be."""
        free = len(self.candidates(round, 0))
        return {"participation": count / max(self.size, 1), "sample_rate": min(1.0, count / max(free, 1))}

    def candidates(self, round: int, least: int) -> list[Candidate]:
        """Those that can be selected: none in quarantine, unless a round could not do without them.

        Nor any whose privacy budget is spent, in any case.
        """
        ready = [self._candidates[name] for name in self.names if name in self._candidates and name not in self.spent]
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
            if report.last:
                self.spent[report.agent] = round
            if report.fresh:
                self.rejoined[report.agent] = round
            if report.agent in self._candidates:
                self._losses[report.agent] = report.loss
                self._candidates[report.agent] = replace(self._candidates[report.agent], loss=report.loss)
        return [self._judged(round, failure) for failure in failures]

    def _judged(self, round: int, failure: Failure) -> Failure:
        name, after = failure.agent, self._policy.quarantine_after
        if failure.error == _SPENT:
            self.spent[name] = round
            return replace(failure, decision="its privacy budget is spent: not selected any more")
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
            "guard": self.guard.state_dict(),
            "memory": dict(self.memory),
            "joined": dict(self.joined),
            "num_joined": self.num_joined,
            "spent": dict(self.spent),
            "rejoined": dict(self.rejoined),
            "losses": dict(self._losses),
            "in_a_row": dict(self._in_a_row),
            "until": dict(self._until),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know this instead; who has left since the run began is no candidate any more."""
        self.names = list(state["members"])
        self.memory, self.joined, self.rejoined = (dict(state[name]) for name in ("memory", "joined", "rejoined"))
        self.num_joined, self.spent = state["num_joined"], dict(state["spent"])
        self._in_a_row, self._until = dict(state["in_a_row"]), dict(state["until"])
        self._losses = dict(state["losses"])
        self.guard.load_state_dict(state["guard"])
        ready = self._candidates
        self._candidates = {
            name: replace(ready[name], loss=self._losses.get(name, nan)) for name in self.names if name in ready
        }
