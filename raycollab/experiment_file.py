"""Experiments as files: YAML that names the same constructors as Python, checked against their signatures."""

import dataclasses
import re
from collections.abc import Sequence
from importlib import import_module, resources
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

import raycollab
from raycollab.agent import Agent
from raycollab.checkpoint import RunFolder
from raycollab.errors import ConfigError
from raycollab.experiment import Experiment
from raycollab.mistakes import mistake
from raycollab.overrides import COMMAND_LINE, overridden, split
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


def read_agent(path: str) -> Agent:
    """Read one agent: a file with what stands under `agents.init_args.members` for it.

    Raises: ConfigError that names the file, the key and what is accepted.
    """
    try:
        plain = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    members = {"class_path": "Parties", "init_args": {"members": [plain]}}
    text = yaml.safe_dump(
        {**yaml.safe_load(resources.files(raycollab).joinpath(DIGITS).read_text()), "agents": members}
    )
    (agent,) = parse_experiment(text, path).members()
    return agent


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
    through_lists, others = split(overrides)
    reader, source = parser(), where
    try:
        settings = reader.parse_object(overridden(plain, through_lists))
        source = COMMAND_LINE
        settings = reader.parse_args(others, namespace=settings)
    except ArgumentError as error:
        raise ConfigError(_problem(plain, overrides, where, source, error)) from error
    try:
        return Experiment(**vars(reader.instantiate(settings)))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(_refusal(error)) from error


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


def _problem(plain: dict[str, Any], overrides: Sequence[str], where: str, source: str, error: ArgumentError) -> str:
    """Where a mistake is, in the file or on the command line, and what it is."""
    found = mistake(plain, Experiment)
    if found is None and overrides:
        where, found = COMMAND_LINE, mistake(overridden(plain, overrides), Experiment)
    return f"{where}: {found}" if found else f"{source}: {_explained(str(error))}"


def _explained(message: str) -> str:
    """Jsonargparse's nested message on one line: the path of the key, and what is wrong."""
    lines = [line.strip() for line in message.strip().splitlines()]
    keys = [match[1] for line in lines if (match := re.fullmatch(r'Parser key "(.+)":', line))]
    reason = lines[-1]
    if match := re.search(r"Expected a <class '(\w+)'>\. Got value: (.*)", reason):
        reason = f"{match[2]!r} is not of type {match[1]}"
    return f"{'.'.join(keys)}: {reason}" if keys else reason


def _refusal(error: ValueError) -> str:
    """What a class said; jsonargparse wraps what is said by the class of an optional setting."""
    found: BaseException = error
    while not isinstance(found, ConfigError) and (cause := found.__cause__ or found.__context__) is not None:
        found = cause
    return str(found)
