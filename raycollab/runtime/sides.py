"""The agents' sides of a rule on one host: what they answer the driver, and what leaves them of their updates."""

from collections.abc import Mapping
from typing import Any

from raycollab.agent import Agent
from raycollab.aggregation import AgentSide, Aggregator, Identity, Partial
from raycollab.errors import RaycollabError, UpdateError
from raycollab.runtime.session import Session
from raycollab.types import AgentReport, Failure, Round, Update


class Sides:
    """The sides of a host's agents; they live as long as the host, also if another driver opens it anew.

    Args:
        session: What is common to the run.
    """

    def __init__(self, session: Session):
        self._session = session
        self._sides: dict[str, AgentSide] = {}

    def open(self, agent: Agent, rule: Aggregator, run: str) -> None:
        """Give an agent its side, if it has none yet."""
        if agent.name not in self._sides:
            sign = agent.key.signer() if agent.key is not None else None
            self._sides[agent.name] = rule.agent_side(Identity(agent.name, run, sign, self._session.keys))

    def answer(self, messages: Mapping[str, Any]) -> dict[str, Any]:
        """Let each of these agents answer its message; one that does not has a Failure."""
        answers: dict[str, Any] = {}
        for name, message in messages.items():
            try:
                answers[name] = self._side_of(name).answer(message)
            except Exception as error:  # whatever a message does to an agent is data, and costs only this agent
                answers[name] = failure_of(name, error)
        return answers

    def collected(self, round: Round, update: Update, report: AgentReport) -> tuple[Partial, AgentReport]:
        """What leaves an agent of an update.

        Raises: UpdateError for one that is too long, while it can still be told apart.
        """
        if report.norm > (most := self._session.max_norm):
            raise UpdateError(
                f"agent {report.agent!r} round {round.index}: the delta has norm {report.norm:.3g}, above "
                f"FailureConfig.max_norm={most:g}; it is kept out of the sum"
            )
        return self._side_of(report.agent).collect(update, report, round)

    def _side_of(self, name: str) -> AgentSide:
        if name not in self._sides:
            raise UpdateError(f"agent {name!r} is not open here")
        return self._sides[name]


def failure_of(agent: str, error: Exception) -> Failure:
    """An error as data."""
    known = isinstance(error, RaycollabError)
    return Failure(agent, type(error).__name__, str(error) if known else f"{type(error).__name__}: {error}")
