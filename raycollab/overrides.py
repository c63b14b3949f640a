"""Settings of an experiment's plain data changed by path: `chain.1.f` is `f` of the second element of `chain`."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raycollab.errors import ConfigError

COMMAND_LINE = "on the command line"
_CLASS, _ARGUMENTS = "class_path", "init_args"


def split(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that go through an element of a list, with those that set what holds such an element; and the others."""
    paths = [_path(override) for override in overrides if override.startswith("--")]
    through = [path for path in paths if any(part.isdecimal() for part in path)]
    inside = [
        override
        for override in overrides
        if any(path[: len(_path(override))] == _path(override) for path in through)
    ]  # fmt: skip
    return inside, [override for override in overrides if override not in inside]


def overridden(plain: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of the plain data with `--key.sub=value` pairs on top of it, in their order.

    Raises: ConfigError for a path that leads nowhere: no such element, or an element of what is no list.
    """
    changed = copy.deepcopy(dict(plain))
    for override in overrides:
        *parents, last = path = _path(override)
        node: Any = changed
        for depth, part in enumerate(parents, 1):
            node = _child(node, part, path[:depth], path)
        _set(node, last, _value(override), path)
    return changed


def standing(plain: Mapping[str, Any], path: str) -> Any:
    """What stands at a path of the plain data; None if nothing does.

    Raises: ConfigError for an element that is not there, or of what is no list.
    """
    node: Any = plain
    parts = _path(path)
    for depth, part in enumerate(parts, 1):
        holder = _holder(node, part)
        if not isinstance(holder, dict | list):
            return None
        key = _key(holder, part, parts[:depth])
        node = holder[key] if isinstance(holder, list) else holder.get(key)
    return node


def _path(override: str) -> tuple[str, ...]:
    return tuple(override.removeprefix("--").partition("=")[0].split("."))


def _value(override: str) -> Any:
    text = override.partition("=")[2]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _child(node: Any, part: str, here: Sequence[str], path: Sequence[str]) -> Any:
    """What a path goes on in; the class that stands as a mere name becomes a mapping, what is absent an empty one."""
    holder = _holder(node, part)
    key = _key(holder, part, here)
    found = holder[key] if isinstance(holder, list) else holder.get(key)
    following = path[len(here)]
    if isinstance(found, str):
        found = {_CLASS: found}
    elif not isinstance(found, dict | list):
        _refuse_elements_of_nothing(found, following, here)
        found = {}
    if isinstance(found, dict) and _CLASS in found and following not in (_CLASS, _ARGUMENTS):
        found[_ARGUMENTS] = _arguments(found, here)
    holder[key] = found
    return found


def _set(node: Any, part: str, value: Any, path: Sequence[str]) -> None:
    holder = _holder(node, part)
    holder[_key(holder, part, path)] = value


def _holder(node: Any, part: str) -> Any:
    """The mapping or list that has the part: for a class, that of its arguments."""
    inside = isinstance(node, dict) and {_CLASS, _ARGUMENTS} <= set(node) and part not in (_CLASS, _ARGUMENTS)
    return node[_ARGUMENTS] if inside else node


def _key(holder: Any, part: str, here: Sequence[str]) -> Any:
    """Where the part stands: in a list by its number, in a mapping under the key that is written so, be it a number."""
    if isinstance(holder, list):
        return _index(holder, part, here)
    return next((key for key in holder if str(key) == part), part)


def _arguments(settings: Mapping[str, Any], here: Sequence[str]) -> dict[str, Any]:
    arguments = settings.get(_ARGUMENTS) or {}
    if not isinstance(arguments, Mapping):
        right = f"{{{_CLASS}: {settings[_CLASS]}, {_ARGUMENTS}: {{NAME: VALUE}}}}"
        raise ConfigError(f"{'.'.join(here)}: {_ARGUMENTS} is {arguments!r}, no mapping of settings: write {right}")
    return dict(arguments)


def _index(items: list[Any], part: str, here: Sequence[str]) -> int:
    name = ".".join(here[:-1])
    if not part.isdecimal():
        raise ConfigError(
            f"{COMMAND_LINE}: {'.'.join(here)}: {name} is a list; name an element of it, such as {name}.0.{part}"
        )
    if int(part) >= len(items):
        there = f"ends at {name}.{len(items) - 1}" if items else "is empty"
        raise ConfigError(f"{COMMAND_LINE}: {'.'.join(here)}: there is no such element; {name} {there}")
    return int(part)


def _refuse_elements_of_nothing(found: Any, following: str, here: Sequence[str]) -> None:
    name = ".".join(here)
    if following.isdecimal():
        is_what = "is not set, so it has no elements to change" if found is None else f"is {found!r}, not a list"
        raise ConfigError(f"{COMMAND_LINE}: {name}.{following}: {name} {is_what}; set the whole list: --{name}='[...]'")
