"""The updates of one round: attempts at it until enough have arrived, or it is clear that they never will."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raycollab.aggregation import Aggregator
from raycollab.errors import Interrupted, QuorumError, UpdateError
from raycollab.experiment import Plan
from raycollab.interruption import Interruption
from raycollab.report import first
from raycollab.roster import Roster
from raycollab.runtime.pool import Collected, Pool
from raycollab.types import Assignment, Failure, Round

# What the same agent raises again from the same vectors and seed; anything else may be the machine's fault.
_CERTAIN = ("ConfigError", "DataError", "ModelError", "TaskMismatchError", "UpdateError")


@dataclass(frozen=True)
class Gathered:
    """What the last attempt at a round brought, and what the attempts before it lost."""

    collected: Collected
    attempts: int
    mode_state: Any
    retried: tuple[Failure, ...]


class Collecting:
    """Runs the agents of rounds.

    Args:
        plan: The experiment.
        pool: The hosts.
        rule: Merges what arrives.
        interruption: Says when to give up.
    """

    def __init__(self, plan: Plan, pool: Pool, rule: Aggregator, interruption: Interruption):
        self._plan = plan
        self._pool = pool
        self._rule = rule
        self._interruption = interruption

    def gather(self, draft: Callable[..., Round], roster: Roster, mode_state: Any, version: int) -> Gathered:
        """Run the agents of a round, again if too few answer or the aggregator cannot merge what they sent.

        Each attempt goes on from where the mode is: modes that take some of the selected agents take others then.

        Args:
            draft: Makes what is broadcast, for an attempt and its assignments of one version.
            roster: Who can be selected.
            mode_state: The mode's.
            version: Rounds committed.
        Raises: QuorumError after max_attempts, sooner if another attempt must fail as well, or at the first failure if
            on_agent_failure is "stop"; Interrupted if the run is to end now.
        """
        policy, index, seed = self._plan.failure, version + 1, self._plan.run.seed
        selected, enough = self._selected(roster, index)
        assignments, mode_state = self._plan.mode.assign(selected, mode_state, version=version, seed=seed)
        retried: list[Failure] = []
        for attempt in range(policy.max_attempts):
            collected = self._run(draft, attempt, assignments, roster, enough)
            if collected.failures and self._interruption.overdue():
                raise Interrupted(f"round {index} was given up: the run was asked to stop")
            if collected.failures and policy.on_agent_failure == "stop":
                why = first(collected.failures)
                raise QuorumError(f"round {index}: {why}; the run ends because on_agent_failure='stop'")
            lack = self._lack(collected, enough or len(assignments))
            if not lack:
                return _gathered(collected, attempt + 1, mode_state, retried)
            retried += collected.failures
            before = assignments
            assignments, mode_state = self._plan.mode.assign(selected, mode_state, version=version, seed=seed)
            certain = all(failure.error in _CERTAIN for failure in collected.failures) and assignments == before
            if certain or attempt + 1 == policy.max_attempts:
                break
        tried = f"the last of {attempt + 1} attempts" if attempt else "the first attempt"
        hopeless = ", and another attempt would bring the same" if certain else ""
        raise QuorumError(
            f"round {index}: {len(collected.reports)} of {len(before)} agents answered in {tried}, "
            f"{lack}{hopeless}; first failure: {first(retried)}"
        )

    def _selected(self, roster: Roster, index: int) -> tuple[list[str], int | None]:
        """Who is selected, and how many of them are enough; None for all that answer in time."""
        plan, run = self._plan, self._plan.run
        everybody = run.agents_per_round in (None, len(plan.names))
        wanted = roster.size if everybody else min(run.agents_per_round or roster.size, roster.size)
        least = max(plan.failure.quorum(wanted), self._rule.min_updates)
        candidates = roster.candidates(index, least)
        count = min(math.ceil(wanted * (1 + plan.mode.over_select) - 1e-9), len(candidates))
        selected = plan.select.select(candidates, count, round=index, seed=run.seed)
        return selected, wanted if count > wanted else None

    def _lack(self, collected: Collected, asked: int) -> str:
        """What a round lacks: updates, or updates that the aggregator can merge; empty for nothing."""
        policy, rule = self._plan.failure, self._rule
        needed, who = max(
            (policy.quorum(asked), f"min_agents={policy.min_agents:g}"),
            (rule.min_updates, type(rule).__name__),
            key=lambda need: need[0],
        )
        if len(collected.reports) < needed:
            return f"{who} needs {needed}"
        try:
            if collected.total is not None:
                rule.check(collected.total)
        except UpdateError as error:
            return str(error)
        return ""

    def _run(
        self,
        draft: Callable[..., Round],
        attempt: int,
        assignments: list[Assignment],
        roster: Roster,
        enough: int | None,
    ) -> Collected:
        """Run assignments, those of each version together, oldest version first."""
        collected = Collected(None, (), (), 0, 0)
        for version in sorted({assignment.version for assignment in assignments}):
            group = [replace(a, last_round=roster.memory.get(a.agent, 0)) for a in assignments if a.version == version]
            round = draft(attempt, version, group, len(assignments))
            collected = collected.plus(self._pool.run(round, group, enough=enough, stop=self._interruption.overdue))
        return collected


def _gathered(collected: Collected, attempts: int, mode_state: Any, retried: Sequence[Failure]) -> Gathered:
    """Whom the round lost in the end, apart from those that answered when they were asked again."""
    answered = {report.agent for report in collected.reports}
    lost = {failure.agent: failure for failure in (*retried, *collected.failures) if failure.agent not in answered}
    again = tuple(replace(f, decision="asked again") for f in retried if f not in lost.values())
    return Gathered(replace(collected, failures=tuple(lost.values())), attempts, mode_state, again)
