"""An agent's part in a round, as it begins."""

import time
from dataclasses import dataclass

from torch import Tensor

from raycollab.spec import PARAMS
from raycollab.task import Problem
from raycollab.types import ASKS, EPSILON, LABELS, LAST, PARTY_EPSILON, AgentReport, Assignment, Round, State, Update


@dataclass(frozen=True)
class Turn:
    """An agent's part in a round, as it begins.

    Args:
        problem: What its learner sees.
        round: The round, with the agent's share of its vectors.
        assignment: What it was asked for.
        state: What it remembers.
        kept: The committed round of which it remembers that; 0 if it remembers nothing.
        started: When, by time.perf_counter.
    """

    problem: Problem
    round: Round
    assignment: Assignment
    state: State
    kept: int
    started: float

    @property
    def params(self) -> Tensor:
        """Where it starts [d]."""
        return self.round.vectors[PARAMS]

    def report(
        self, update: Update, norm: float, examples: int, remembers: bool, form: int = 0, rejected: int = 0
    ) -> AgentReport:
        """What the agent reports of it.

        Args:
            update: As it is sent, with the weight that the rule gives it.
            norm: Of its delta.
            examples: It has, if the update does not say how many were counted.
            remembers: Whether it keeps private state of the round.
            form: Of the model that it used.
            rejected: Rows that it could not use, so far.
        """
        return AgentReport(
            agent=update.agent,
            examples=int(update.scalars.get("counted", examples)),
            loss=update.scalars.get("loss", float("nan")),
            seconds=time.perf_counter() - self.started,
            num_bytes=update.num_bytes,
            norm=norm,
            weight=update.weight * update.discount,
            fresh=self.kept != self.assignment.last_round,
            remembers=remembers,
            epsilon=update.scalars.get(EPSILON, float("nan")),
            party_epsilon=update.scalars.get(PARTY_EPSILON, float("nan")),
            last=bool(update.scalars.get(LAST, 0.0)),
            drift=update.scalars.get("drift", float("nan")),
            changes=update.changes,
            form=form,
            labels=int(update.scalars.get(LABELS, 0)),
            asks=bool(update.scalars.get(ASKS, 0.0)),
            rejected=rejected,
        )
