"""Agents that hold a part of the experiment's net, as agents with a task of their own."""

from collections.abc import Sequence
from dataclasses import replace

from raycollab.agent import Agent
from raycollab.errors import ConfigError, ModelError
from raycollab.params import Exchange
from raycollab.task import Task


def with_parts(agents: Sequence[Agent], task: Task, exchange: Exchange) -> list[Agent]:
    """Agents in an experiment: what they hold of a net is in their own task.

    Args:
        agents: As they were named.
        task: The experiment's.
        exchange: The experiment's.
    Raises: ConfigError if the exchange takes only whole tensors, and an agent holds less; that or ModelError if a net
        has no such part.
    """
    return [_with_part(agent, task, exchange) for agent in agents]


def _with_part(agent: Agent, task: Task, exchange: Exchange) -> Agent:
    holds = agent.holds
    if holds is None:
        return agent
    if holds.slices and not exchange.slices:
        raise ConfigError(f"agent {agent.name!r} holds parts of tensors, {holds!r}: set exchange=Exchange(slices=True)")
    try:
        own = (agent.task or task).with_net(holds.of)
    except (ConfigError, ModelError) as error:
        raise type(error)(f"agent {agent.name!r}: {error}") from error
    return replace(agent, task=own, holds=None)
