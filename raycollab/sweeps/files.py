"""Sweeps as files: an experiment with a `search` section."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from raycollab.continuation import changed_settings
from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.experiment_file import parse_experiment
from raycollab.overrides import overridden
from raycollab.recipe import plain_fields
from raycollab.storage import Storage
from raycollab.sweeps.settings import Search

SETTINGS = "sweep.yaml"
_MEASURED = ("agents_at_once", "vectorised")  # settings that null leaves to be measured, before the first trial


def read_sweep(path: str, overrides: Sequence[str] = ()) -> tuple[Experiment, Search]:
    """Read an experiment and how it is searched, which stands under `search` in its file.

    Raises: ConfigError that names the file, the key and what is accepted.
    """
    storage, _, name = path.rpartition("/")
    if not Storage(storage or ".").exists(name):
        raise ConfigError(
            f"{path}: there is no such experiment file; `raycollab tune` needs one with a search: section"
        )
    return _parsed(Storage(storage or ".").read_bytes(name).decode(), path, overrides)


def _parsed(text: str, where: str, overrides: Sequence[str] = ()) -> tuple[Experiment, Search]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not isinstance(found.get("search"), dict):
        example = "{space: {chain.0.beta: {uniform: [0, 0.95]}}, validation: {class_path: Parquet, init_args: {...}}}"
        raise ConfigError(f"{where}: has no search: section; write what is tried and scored, such as search: {example}")
    mine = [each for each in overrides if each.startswith("--search.")]
    found = overridden(found, mine)
    section = found.pop("search")
    others = [each for each in overrides if each not in mine]
    experiment = parse_experiment(yaml.safe_dump(found, sort_keys=False), where, others)
    reader = ArgumentParser(exit_on_error=False, add_help=False)
    space = section.pop("space", {})  # the rules in it stay plain
    reader.add_class_arguments(Search, skip={"space"})
    try:
        return experiment, Search(space, **vars(reader.instantiate(reader.parse_object(section))))
    except ArgumentError as error:
        raise ConfigError(f"{where}: search: {' '.join(str(error).split())}") from error


def plain(experiment: Experiment, settings: Search) -> dict[str, Any]:
    """What a sweep's file holds."""
    return {**experiment.to_plain(), "search": json.loads(json.dumps(plain_fields(settings)))}


def written(folder: Path) -> tuple[Experiment, Search]:
    """What stands in a sweep's folder."""
    return _parsed((folder / SETTINGS).read_text(), str(folder / SETTINGS))


def refuse_another(folder: Path, asked: tuple[Experiment, Search]) -> None:
    """Raise ConfigError for the first setting in which a sweep is not the one that was asked for."""
    before, after = (json.loads(json.dumps(plain(*each))) for each in (written(folder), asked))
    changes = changed_settings(before, _as_measured(after, before))
    if changes:
        raise ConfigError(f"{folder}: it is of another sweep: {changes[0]}; resume it without a file, or start anew")


def _as_measured(asked: Any, before: Any) -> Any:
    """What is asked for, with what was measured before in the place of what it leaves to be measured."""
    if isinstance(asked, dict) and isinstance(before, dict):
        left = {name: before.get(name) for name in _MEASURED if name in asked and asked[name] is None}
        return {**{name: _as_measured(value, before.get(name)) for name, value in asked.items()}, **left}
    if isinstance(asked, list) and isinstance(before, list) and len(asked) == len(before):
        return [_as_measured(one, other) for one, other in zip(asked, before, strict=True)]
    return asked
