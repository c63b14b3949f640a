"""The agents of a run that has ended, beside what each of them learns alone: computed once, and kept in its folder."""

import json
from dataclasses import replace
from shlex import quote

from raycollab.alone import FOLDER, local_only
from raycollab.checkpoint import RunFolder
from raycollab.errors import ConfigError
from raycollab.experiment_file import read_run
from raycollab.fitting import run_experiment
from raycollab.journal import Tables
from raycollab.report import compared, comparison
from raycollab.storage import Storage

_RESULT = "result.json"


def run_alone(path: str, *, address: str | None = None) -> str:
    """Let each agent of a run learn alone, as often and as long as in the run, unless that was done before.

    Args:
        path: The run folder; the other run becomes a folder in it.
        address: Ray cluster to use, where the run used one.
    Returns: Path of the other run's folder.
    Raises: RunFolderError if it is no run folder; ConfigError if no file can name all that it is made of.
    """
    folder = RunFolder.open(path)
    inner = folder.storage.child(FOLDER)
    if inner.exists(_RESULT):
        return inner.uri
    try:
        experiment = local_only(read_run(path))
    except ConfigError as error:
        raise ConfigError(f"{error}; or compare it there, by rc.run_experiment(rc.local_only(experiment))") from error
    experiment = replace(experiment, run=replace(experiment.run, dir=folder.path, name=FOLDER))
    begun = inner.exists("experiment.yaml")
    return run_experiment(experiment, address=address, resume=inner.uri if begun else None).path


def side_by_side(path: str, primary: tuple[str, bool]) -> str:
    """A table of the agents by the common model, by one of their own, and alone; empty where nobody was scored.

    Args:
        path: The run folder, or its model/ folder, which says nothing of agents. What `run_alone` left there is the
            last column.
        primary: The task's primary metric, and whether higher is better.
    """
    storage = Storage(path)
    if not storage.exists(_RESULT):
        return ""
    config = json.loads(storage.child("model").read_bytes("config.json"))
    alone = _agents(storage.child(FOLDER))
    sides = compared(_agents(storage), alone, primary, private=bool(config.get("private")))
    table = comparison(sides, primary)
    hint = f"\nalone: not computed yet; next: raycollab evaluate {quote(path)} --local-only"
    return table + (hint if table and not alone else "")


def _agents(storage: Storage) -> list[dict[str, object]]:
    return Tables.of(RunFolder(storage).rows()).agents if storage.exists(_RESULT) else []
