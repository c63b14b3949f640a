"""Talk to a run that is under way, from any process that reaches its Ray cluster.

A cluster that a run has started for itself asks for Ray's token: call `raycollab.announcement.authenticate(run)` before
ray is imported, as the command line does, or set RAY_AUTH_MODE=token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from raycollab.agent import Agent
from raycollab.announcement import NAMESPACE, announcement
from raycollab.checkpoint import RunFolder
from raycollab.errors import ClusterError, RaycollabError
from raycollab.runtime.placement import cluster
from raycollab.types import AgentCard

_CONTROL_S = 30.0  # for an answer that does not wait for a round
_BETWEEN_ROUNDS_S = 3600.0  # for one that does


def status(run: str) -> dict[str, Any]:
    """Where a run is: of its driver if one runs, and else what its folder says.

    Args:
        run: Its folder.
    Raises: RunFolderError if there is none; ClusterError if its driver cannot be reached.
    """
    folder = RunFolder.open(run)
    if announcement(folder) is None:
        ended = folder.storage.exists("result.json")
        rows = folder.rows()
        state = folder.read_json("result.json")["stop_reason"] if ended else "not running"
        return {"round": rows[-1]["round"] if rows else 0, "state": state}
    with _driver(folder) as driver:
        return _answer(folder, driver.status.remote(), _CONTROL_S)


def stop(run: str, grace_s: float = 0.0) -> None:
    """End a run after the round under way, which is given up if it takes longer than this; it can be resumed."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        _answer(folder, driver.stop.remote(grace_s), _CONTROL_S)


def add_agent(run: str, agent: Agent) -> AgentCard:
    """Let an agent join a run after the round under way; see Driver.add_agent."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        return _answer(folder, driver.add_agent.remote(agent), _BETWEEN_ROUNDS_S)


def remove_agent(run: str, name: str) -> None:
    """Let an agent leave a run after the round under way; see Driver.remove_agent."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        _answer(folder, driver.remove_agent.remote(name), _BETWEEN_ROUNDS_S)


@contextmanager
def _driver(folder: RunFolder) -> Iterator[ActorHandle]:
    """The actor of the driver of a folder.

    Raises: ClusterError if none runs, or its cluster cannot be reached.
    """
    found = announcement(folder)
    if found is None:
        raise ClusterError(f"{folder.path}: nobody runs it; `raycollab resume {folder.path}` continues it")
    with _explained(folder), cluster(found.address):
        yield ray.get_actor(found.name, namespace=NAMESPACE)


@contextmanager
def _explained(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except RaycollabError:
        raise
    except (ValueError, RayActorError) as error:
        raise ClusterError(
            f"{folder.path}: its driver is gone: {str(error).strip().splitlines()[0]}; "
            f"`raycollab resume {folder.path}` continues it"
        ) from error


def _answer(folder: RunFolder, ref: Any, timeout_s: float) -> Any:
    try:
        return ray.get(ref, timeout=timeout_s)
    except RayTaskError as error:
        raise (error.cause or error) from None
    except GetTimeoutError as error:
        raise ClusterError(f"{folder.path}: its driver did not answer within {timeout_s:.0f} s") from error
