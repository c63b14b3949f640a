"""Experiments as files: YAML that names the same constructors as Python, checked against their signatures."""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from importlib import import_module, resources
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

import raycollab
from raycollab.checkpoint import RunFolder
from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.recipe import only_in_python
from raycollab.storage import Storage

DIGITS = "digits.yaml"  # the experiment that runs when none is named
_RULES = (
    "tasks",
    "models",
    "data",
    "learners",
    "aggregation",
    "transforms",
    "modes",
    "schedules",
    "selection",
    "codecs",
    "population",
)  # short class names


def parser(prog: str = "raycollab run") -> ArgumentParser:
    """A parser of experiments: every field of Experiment, and of whatever it names, is a key."""
    for package in _RULES:
        import_module(f"raycollab.{package}")
    made = ArgumentParser(prog=prog, exit_on_error=False, add_help=False, allow_abbrev=False)
    made.add_class_arguments(Experiment, fail_untyped=False)
    return made


def read_experiment(path: str | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment.

    Args:
        path: YAML file, a local path or any pyarrow.fs URI; None reads the built-in digits experiment.
        overrides: `--key.sub=value` pairs on top of it.
    Raises: ConfigError that names the file, the key and what is accepted.
    """
    if path is None:
        text, where = resources.files(raycollab).joinpath(DIGITS).read_text(), f"the built-in {DIGITS}"
    else:
        text, where = _read(path), path
    return parse_experiment(text, where, overrides)


def read_run(path: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read the experiment that a run folder holds.

    Raises: RunFolderError if it is no run folder; ConfigError if parts of it stood only in memory.
    """
    folder = RunFolder.open(path)
    text = folder.read_text("experiment.yaml")
    missing = only_in_python(yaml.safe_load(text))
    if missing is not None:
        raise ConfigError(
            f"{folder.path}: its experiment was made in Python with {missing} that no file can name; "
            f"continue it there, with rc.fit(..., resume={folder.path!r})"
        )
    return parse_experiment(text, f"{folder.path}/experiment.yaml", overrides)


def parse_experiment(text: str, where: str, overrides: Sequence[str] = ()) -> Experiment:
    """Make an experiment from YAML text; `where` is what errors call it."""
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise ConfigError(
            f"{where}: must be a mapping with the keys {', '.join(f.name for f in dataclasses.fields(Experiment))}"
        )
    reader = parser()
    try:
        settings = reader.parse_object(plain)
    except ArgumentError as error:
        raise ConfigError(f"{where}: {_explained(str(error))}") from error
    try:
        settings = reader.parse_args(list(overrides), namespace=settings)
    except ArgumentError as error:
        raise ConfigError(f"on the command line: {_explained(str(error))}") from error
    return Experiment(**vars(reader.instantiate(settings)))


def to_yaml(experiment: Experiment) -> str:
    """The experiment as a file that `read_experiment` reads."""
    return yaml.safe_dump(experiment.to_plain(), sort_keys=False)


def _read(path: str) -> str:
    folder, _, name = path.rpartition("/")
    storage = Storage(folder or ".")
    if not storage.exists(name):
        raise ConfigError(
            f"{path}: there is no such experiment file; `raycollab run` without one runs the built-in digits experiment"
        )
    try:
        return storage.read_bytes(name).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}; save the YAML file as UTF-8") from error


def _explained(message: str) -> str:
    """Jsonargparse's nested message on one line: the path of the key, what is wrong, and the likely meaning."""
    lines = [line.strip() for line in message.strip().splitlines()]
    keys = [match[1] for line in lines if (match := re.fullmatch(r'Parser key "(.+)":', line))]
    classes = [match[1] for line in lines if (match := re.fullmatch(r"Problem with given class_path '(.+)':", line))]
    reason = lines[-1]
    if match := re.search(r"Group '(\w+)' does not accept option '([\w.]+)'", reason):
        keys, reason = [match[1]], f"unknown key {match[2]!r}{_meant(match[2], _fields_of_group(match[1]))}"
    elif match := re.search(r"Option '([\w.]+)' is not accepted", reason):
        accepted = (
            _fields_of_class(classes[-1]) if classes else [field.name for field in dataclasses.fields(Experiment)]
        )
        reason = f"unknown key {match[1]!r}{_meant(match[1], accepted)}"
    elif match := re.search(r"Expected a dot import path string: (\S+)", reason):
        classes_known = [name for name in raycollab.__all__ if name[0].isupper()]
        guess = _meant(match[1], classes_known, "classes")
        reason = f"there is no class {match[1]!r}{guess}; a class of your own is named as package.module.Name"
    elif match := re.search(r"unrecognized arguments: --(\S+)", reason):
        group, _, key = match[1].partition("=")[0].rpartition(".")
        reason = f"unknown key {match[1]!r}{_meant(key, _fields_of_group(group))}"
    elif match := re.search(r"Expected a <class '(\w+)'>\. Got value: (.*)", reason):
        reason = f"{match[2]!r} is not of type {match[1]}"
    inside = f" ({classes[-1].removeprefix('raycollab.')})" if classes else ""
    return f"{'.'.join(keys)}{inside}: {reason}" if keys else reason


def _meant(word: str, accepted: Sequence[str], kind: str = "keys") -> str:
    close = difflib.get_close_matches(word, accepted, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    listed = f" accepted {kind}: {', '.join(accepted)}" if accepted and len(accepted) <= 20 else ""
    return f"{guess}{listed}" if guess or not listed else f";{listed}"


def _fields_of_group(group: str) -> list[str]:
    kinds = {field.name: field.type for field in dataclasses.fields(Experiment)}
    if not group:
        return list(kinds)
    kind: Any = kinds.get(group)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _fields_of_class(path: str) -> list[str]:
    package, _, name = path.rpartition(".")
    kind = getattr(import_module(package), name, None)
    return (
        [field.name for field in dataclasses.fields(kind) if field.init]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
        else []
    )
