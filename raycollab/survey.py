"""Ask every agent of an experiment about its data, where it is: `raycollab data show` and `raycollab data check`."""

import os
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TypeVar

from rich.console import Console

from raycollab.data import Source
from raycollab.errors import DataError
from raycollab.experiment import Experiment
from raycollab.quality.drawing import picture, terminal
from raycollab.quality.examination import Examination, examine, row_hashes
from raycollab.quality.holding import Holding, look
from raycollab.quality.table import examination_table
from raycollab.storage import Storage
from raycollab.task import Task

Answer = TypeVar("Answer")


def holdings(experiment: Experiment, *, address: str | None = None) -> list[Holding]:
    """How many rows each agent holds, by label.

    Args:
        experiment: Whose agents are asked.
        address: Ray cluster to use.
    """
    questions = [
        partial(look, agent.name, agent.shard, agent.task or experiment.task) for agent in experiment.members()
    ]
    return _asked(questions, experiment, address)


def examinations(experiment: Experiment, *, address: str | None = None) -> list[Examination]:
    """What each agent finds in its shard. It is given hashes of the shared test set, and sends counts.

    Args:
        experiment: Whose agents are asked.
        address: Ray cluster to use.
    Raises: DataError if the shared test set cannot be read.
    """
    salt = secrets.token_bytes(16)
    test = experiment.test.open().columns
    hashes = frozenset(row_hashes(test, experiment.task, salt))
    questions = [
        partial(_examined, agent.name, agent.shard, agent.task or experiment.task, hashes, salt)
        for agent in experiment.members()
    ]
    return _asked(questions, experiment, address)


def show(experiment: Experiment, *, address: str | None = None, out: str | None = None) -> None:
    """Draw who holds what on the screen, and into a PNG file if one is named.

    Raises: RunFolderError if the file cannot be written.
    """
    found = holdings(experiment, address=address)
    Console().print(terminal(found))
    if out is not None:
        storage, name = Storage.holding(out)
        storage.write_bytes(name, picture(found))


def check(experiment: Experiment, *, address: str | None = None) -> None:
    """Print what the agents find in their shards."""
    Console().print(examination_table(examinations(experiment, address=address)))


def _examined(agent: str, source: Source, task: Task, hashes: frozenset[bytes], salt: bytes) -> Examination:
    try:
        return examine(agent, source, task, hashes, salt)
    except DataError as error:
        return Examination(agent, error=str(error))


def _asked(questions: Sequence[Callable[[], Answer]], experiment: Experiment, address: str | None) -> list[Answer]:
    """The answers: of Ray tasks if a cluster or parties' nodes are named; else of this process, as all data is here."""
    named = address or os.environ.get("RAY_ADDRESS")
    if experiment.scaling.pool == "local" or not (named or experiment.scaling.on_party_nodes):
        return [question() for question in questions]
    timeout_s = experiment.failure.round_timeout_s
    on_ray = import_module("raycollab.runtime.ray_survey")
    agents = [agent.name for agent in experiment.members()]
    answers: list[Answer] = on_ray.ask_on_ray(
        questions, experiment.scaling, agents=agents, address=address, timeout_s=timeout_s
    )
    return answers
