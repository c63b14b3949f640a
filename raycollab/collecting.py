"""The updates of one round: attempts at it until enough have arrived, or it is clear that they never will."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from raycollab.aggregation import Aggregator, Talk
from raycollab.errors import Interrupted, QuorumError, UpdateError
from raycollab.experiment import Plan
from raycollab.interruption import Interruption
from raycollab.report import first
from raycollab.roster import Roster
from raycollab.runtime.pool import Collected, Pool
from raycollab.types import Assignment, Failure, Round

# What the same agent raises again from the same vectors and seed; anything else may be the machine's fault.
_CERTAIN = ("BudgetError", "ConfigError", "DataError", "ModelError", "TaskMismatchError", "UpdateError")


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
        run: The number of the run's ledger.
    """

    def __init__(self, plan: Plan, pool: Pool, rule: Aggregator, interruption: Interruption, run: str = ""):
        self._plan = plan
        self._pool = pool
        self._rule = rule
        self._interruption = interruption
        self._side = rule.driver_side(run)
        self._talk = Talk(lambda messages: {})

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
            collected, lack = self._merged(collected, enough or len(assignments))
            if not lack:
                return _gathered(collected, attempt + 1, mode_state, retried)
            retried += collected.failures
            before = assignments
            assignments, mode_state = self._plan.mode.assign(selected, mode_state, version=version, seed=seed)
            certain = _is_certain(collected) and assignments == before
            if certain or attempt + 1 == policy.max_attempts:
                break
        tried = f"the last of {attempt + 1} attempts" if attempt else "the first attempt"
        hopeless = ", and another attempt would bring the same" if certain else ""
        raise QuorumError(
            f"round {index}: {len(collected.reports)} of {len(before)} agents answered in {tried}, "
            f"{lack}{hopeless}; first failure: {first(retried)}"
        )

    def exhausted(self, roster: Roster) -> str:
        """Why there can be no further round, if privacy budgets leave too few agents; else empty."""
        wanted = self._wanted(roster)
        least = max(self._plan.failure.quorum(max(wanted, 1)), self._rule.min_updates)
        if not roster.spent or wanted >= least:
            return ""
        left = f"{roster.size} of {len(roster.names)} agents have any left" if roster.size else "nobody has any left"
        return f"privacy budgets are spent: {left}, and a round needs {least}"

    def _wanted(self, roster: Roster) -> int:
        """Agents of a round: all, or as many as are sampled and there are."""
        per_round = self._plan.run.agents_per_round
        everybody = per_round in (None, len(self._plan.names))
        return roster.size if everybody or per_round is None else min(per_round, roster.size)

    def _selected(self, roster: Roster, index: int) -> tuple[list[str], int | None]:
        """Who is selected, and how many of them are enough; None for all that answer in time."""
        plan, run = self._plan, self._plan.run
        wanted = self._wanted(roster)
        least = max(plan.failure.quorum(wanted), self._rule.min_updates)
        candidates = roster.candidates(index, least)
        count = min(math.ceil(wanted * (1 + plan.mode.over_select) - 1e-9), len(candidates))
        selected = plan.select.select(candidates, count, round=index, seed=run.seed)
        return selected, wanted if count > wanted else None

    def _merged(self, collected: Collected, asked: int) -> tuple[Collected, str]:
        """What the aggregator merges; and what it lacks: updates, or such as can be merged; empty for nothing."""
        policy, rule = self._plan.failure, self._rule
        needed, who = max(
            (policy.quorum(asked), f"min_agents={policy.min_agents:g}"),
            (rule.min_updates, type(rule).__name__),
            key=lambda need: need[0],
        )
        if len(collected.reports) < needed:
            return collected, f"{who} needs {needed}"
        opened = self._side.finish(collected.total, [report.agent for report in collected.reports], self._talk)
        collected = replace(collected, total=opened.total, loss=opened.loss, notes=opened.notes)
        collected = _with(collected, opened.failures, self._talk)
        if opened.lack:
            return collected, opened.lack
        try:
            if collected.total is not None:
                rule.check(collected.total)
        except UpdateError as error:
            return collected, str(error)
        return collected, ""

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
            group = [roster.assigned(each) for each in assignments if each.version == version]
            round = draft(attempt, version, group, len(assignments))
            self._talk = Talk(partial(self._pool.ask, round=round))
            round, lost = self._side.begin(round, roster.examples(round.agents), self._talk)
            out = {failure.agent for failure in lost}
            if group := [assignment for assignment in group if assignment.agent not in out]:
                collected = collected.plus(self._pool.run(round, group, enough=enough, stop=self._interruption.overdue))
            collected = _with(collected, lost, self._talk)
        return collected


def _is_certain(collected: Collected) -> bool:
    """Whether the same agents would bring the same again; a sum that did not open may the next time."""
    unopened = collected.total is None and collected.reports
    return not unopened and all(failure.error in _CERTAIN for failure in collected.failures)


def _with(collected: Collected, failures: Sequence[Failure], talk: Talk) -> Collected:
    """With more failures, and with the messages since the last time."""
    up, down = talk.taken()
    return collected.plus(Collected(None, (), tuple(failures), up, down))


def _gathered(collected: Collected, attempts: int, mode_state: Any, retried: Sequence[Failure]) -> Gathered:
    """Whom the round lost in the end, apart from those that answered when they were asked again."""
    answered = {report.agent for report in collected.reports}
    lost = {failure.agent: failure for failure in (*retried, *collected.failures) if failure.agent not in answered}
    again = tuple(replace(f, decision="asked again") for f in retried if f not in lost.values())
    return Gathered(replace(collected, failures=tuple(lost.values())), attempts, mode_state, again)
