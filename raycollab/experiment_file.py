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
from raycollab.errors import ConfigError, RunFolderError
from raycollab.experiment import Experiment
from raycollab.mistakes import mistake
from raycollab.overrides import COMMAND_LINE, overridden, split
from raycollab.params import Exchange
from raycollab.recipe import only_in_python, plain_fields
from raycollab.storage import Storage

STAGES = "stages.yaml"  # in a folder of stages
DIGITS = "digits.yaml"  # the experiment that runs when none is named
_RULES = (
    "tasks",
    "models",
    "data",
    "learners",
    "adapt",
    "aggregation",
    "transforms",
    "modes",
    "schedules",
    "selection",
    "codecs",
    "growth",
    "population",
    "privacy",
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


def read_stages(path: str | None, overrides: Sequence[str] = ()) -> dict[str, Experiment] | None:
    """Read the stages of a file: what stands under each is laid over what stands beside `stages:`.

    Settings are merged key by key; what has a class_path is replaced.

    Args:
        path: YAML file, or a folder of stages.
        overrides: `--key.sub=value` pairs on top of every stage.
    Returns: The experiments by the stages' names; None if the file has no stages, or there is no such file.
    Raises: ConfigError that names the file, the stage, the key and what is accepted.
    """
    if path is None:
        return None
    path = f"{path}/{STAGES}" if Storage(path).exists(STAGES) else path
    try:
        plain = yaml.safe_load(_read(path))
    except (yaml.YAMLError, ConfigError, RunFolderError):
        return None  # who reads it as one experiment, or as a run folder, says what is wrong
    if not isinstance(plain, dict) or "stages" not in plain:
        return None
    common = {key: value for key, value in plain.items() if key != "stages"}
    stages = plain["stages"]
    if not isinstance(stages, list) or not all(isinstance(each, dict) and "name" in each for each in stages):
        raise ConfigError(f"{path}: stages: must be a list of mappings, each with a name and the settings that differ")
    check_stage_names([each["name"] for each in stages], f"{path}: stages")
    missing = only_in_python(plain)
    if missing is not None:
        raise ConfigError(f"{path}: made in Python with {missing} that no file can name; go on there, with resume=")
    read = {}
    for each in stages:
        own = {key: value for key, value in each.items() if key != "name"}
        text = yaml.safe_dump(_laid_over(common, own))
        read[each["name"]] = parse_experiment(text, f"{path}: stage {each['name']!r}", overrides)
    return read


def check_stage_names(names: Sequence[Any], where: str) -> None:
    """Raise ConfigError for stages that are none, or whose names are no names of folders, or the same."""
    if not names:
        raise ConfigError(f"{where}: there is none; give at least one")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w\-][\w.\-]*", name):
            raise ConfigError(f"{where}: the name {name!r}: must be letters, digits, '.', '_' and '-' only")
        if list(names).count(name) > 1:
            raise ConfigError(f"{where}: the name {name!r} is used more than once; give each its own")


def _laid_over(common: Any, own: Any) -> Any:
    """Mappings merged key by key, but for those that name a class."""
    if not (isinstance(common, dict) and isinstance(own, dict)) or "class_path" in own or "class_path" in common:
        return own
    return {**common, **{key: _laid_over(common.get(key), value) for key, value in own.items()}}


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
    (agent,) = parse_experiment(text, path).agents.agents()
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
    plain, overrides = _spelled_out(plain, overrides)
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


def _spelled_out(plain: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """With `exchange: adapters`, in the file or on the command line, as the settings that the word stands for."""
    word = plain.get("exchange")
    plain = {**plain, "exchange": plain_fields(Exchange.of(word))} if isinstance(word, str) else plain
    spelled: list[str] = []
    for override in overrides:
        word = override.removeprefix("--exchange=")
        settings = plain_fields(Exchange.of(word)) if word != override and word.isidentifier() else {}
        spelled += [f"--exchange.{name}={value}" for name, value in settings.items()] or [override]
    return plain, spelled


def to_yaml(experiment: Experiment) -> str:
    """The experiment as a file that `read_experiment` reads."""
    return yaml.safe_dump(experiment.to_plain(), sort_keys=False)


def _read(path: str) -> str:
    storage, name = Storage.holding(path)
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
