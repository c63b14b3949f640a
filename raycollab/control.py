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
from ray.util import list_named_actors

from raycollab.agent import Agent
from raycollab.announcement import NAMESPACE, announcement
from raycollab.checkpoint import RunFolder
from raycollab.errors import ClusterError, RaycollabError
from raycollab.runtime.placement import cluster
from raycollab.types import AgentCard

_CONTROL_S = 30.0  # for an answer that does not wait for a round
_BETWEEN_ROUNDS_S = 3600.0  # for one that does


def running(address: str) -> dict[str, dict[str, Any]]:
    """The status of every run of a cluster, by its folder.

    Raises: ClusterError if the cluster cannot be reached.
    """
    with cluster(address):
        return {name: _asked(name, "status") for name in drivers()}


def ask(run: str, address: str, question: str, *arguments: Any) -> Any:
    """What the driver of a run answers to `status` or `stop`, by the cluster, where its folder may not be seen.

    Raises: ClusterError if the cluster cannot be reached or nobody runs it there, with the runs that there are.
    """
    with cluster(address):
        known = drivers()
        if run not in known:
            there = ", ".join(known) or "none"
            raise ClusterError(f"{run}: nobody runs it on the cluster at {address}; runs there: {there}")
        return _asked(run, question, *arguments)


def drivers() -> list[str]:
    """Folders of the runs on the cluster that this process is attached to."""
    return sorted(each["name"] for each in list_named_actors(all_namespaces=True) if each["namespace"] == NAMESPACE)


def _asked(run: str, question: str, *arguments: Any) -> Any:
    with _explained(run):
        driver = ray.get_actor(run, namespace=NAMESPACE)
        return _answer(run, getattr(driver, question).remote(*arguments), _CONTROL_S)


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
        return _answer(folder.path, driver.status.remote(), _CONTROL_S)


def stop(run: str, grace_s: float = 0.0) -> None:
    """End a run after the round under way, which is given up if it takes longer than this; it can be resumed."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        _answer(folder.path, driver.stop.remote(grace_s), _CONTROL_S)


def add_agent(run: str, agent: Agent) -> AgentCard:
    """Let an agent join a run after the round under way; see Driver.add_agent."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        return _answer(folder.path, driver.add_agent.remote(agent), _BETWEEN_ROUNDS_S)


def remove_agent(run: str, name: str) -> None:
    """Let an agent leave a run after the round under way; see Driver.remove_agent."""
    folder = RunFolder.open(run)
    with _driver(folder) as driver:
        _answer(folder.path, driver.remove_agent.remote(name), _BETWEEN_ROUNDS_S)


@contextmanager
def _driver(folder: RunFolder) -> Iterator[ActorHandle]:
    """The actor of the driver of a folder.

    Raises: ClusterError if none runs, or its cluster cannot be reached.
    """
    found = announcement(folder)
    if found is None:
        raise ClusterError(f"{folder.path}: nobody runs it; `raycollab resume {folder.path}` continues it")
    with _explained(folder.path), cluster(found.address):
        yield ray.get_actor(found.name, namespace=NAMESPACE)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except RaycollabError:
        raise
    except (ValueError, RayActorError) as error:
        raise ClusterError(
            f"{path}: its driver is gone: {str(error).strip().splitlines()[0]}; `raycollab resume {path}` continues it"
        ) from error


def _answer(path: str, ref: Any, timeout_s: float) -> Any:
    try:
        return ray.get(ref, timeout=timeout_s)
    except RayTaskError as error:
        raise (error.cause or error) from None
    except GetTimeoutError as error:
        raise ClusterError(f"{path}: its driver did not answer within {timeout_s:.0f} s") from error
