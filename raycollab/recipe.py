"""Values as plain data and back: what run folders hold instead of pickles.

A frozen dataclass becomes {"class_path": "package.module.Name", "init_args": {...}}, which is also how experiment files
name constructors. Reading one back imports only classes of raycollab and of the modules that the caller trusts.
"""

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from raycollab.errors import ConfigError

_ONLY_IN_PYTHON = "only_in_python"


def to_plain(value: Any, *, strict: bool = True) -> Any:
    """Turn settings into dicts, lists, strings and numbers.

    Args:
        value: Settings.
        strict: Raise for what has no plain form, such as arrays in memory; else leave a mark in its place.
    Raises: ConfigError if strict.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)  # also numpy's float64, which is a float
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()  # another number of numpy or torch
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, strict=strict) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, strict=strict) for item in value]
    if is_dataclass(value) and not isinstance(value, type) and _importable(type(value)):
        return {"class_path": class_path(type(value)), "init_args": plain_fields(value, strict=strict)}
    if callable(value) and hasattr(value, "__qualname__") and _importable(value):
        return f"{value.__module__}:{value.__qualname__}"
    if strict:
        raise ConfigError(
            f"{type(value).__name__} has no plain form that a run folder could hold; name a file or a class instead"
        )
    return _mark(value)


def _mark(value: Any) -> dict[str, Any]:
    """What stands for a value without a plain form: enough to tell it from another one."""
    mark: dict[str, Any] = {_ONLY_IN_PYTHON: getattr(value, "__qualname__", type(value).__name__)}
    if is_dataclass(value) and not isinstance(value, type):
        mark["settings"] = plain_fields(value, strict=False)
    elif hasattr(value, "digest"):
        mark["digest"] = value.digest()
    return mark


def _importable(kind: Any) -> bool:
    """Whether another process can import a class or function by its name."""
    return "<" not in kind.__qualname__ and kind.__module__ != "__main__"


def plain_fields(value: Any, *, strict: bool = True) -> dict[str, Any]:
    """The fields of a dataclass as plain data."""
    return {field.name: to_plain(getattr(value, field.name), strict=strict) for field in fields(value) if field.init}


def only_in_python(plain: Any) -> str | None:
    """Name of the first thing in plain data that had no plain form; None if there is none."""
    if isinstance(plain, Mapping):
        if _ONLY_IN_PYTHON in plain:
            return str(plain[_ONLY_IN_PYTHON])
        plain = list(plain.values())
    if isinstance(plain, list):
        return next((found for found in map(only_in_python, plain) if found is not None), None)
    return None


def class_path(kind: type) -> str:
    """Where a class is imported from; raycollab's by the shortest public path."""
    parts = kind.__module__.split(".")
    for length in range(2, len(parts) + 1) if parts[0] == "raycollab" else ():
        package = ".".join(parts[:length])
        if getattr(importlib.import_module(package), kind.__name__, None) is kind:
            return f"{package}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def from_plain(plain: Any, *, trusted: tuple[str, ...] = ()) -> Any:
    """Make the value again.

    Args:
        plain: What `to_plain` made.
        trusted: Packages beside raycollab that may be imported.
    Raises: ConfigError for a class or a `Module.target` outside those, or arguments that it does not take.
    """
    if isinstance(plain, list):
        return tuple(from_plain(item, trusted=trusted) for item in plain)
    if not isinstance(plain, Mapping):
        return plain
    arguments = {key: from_plain(item, trusted=trusted) for key, item in plain.items()}
    if "class_path" not in plain or not set(plain) <= {"class_path", "init_args"}:
        return arguments
    arguments.setdefault("init_args", {})
    kind = _imported(plain["class_path"], trusted)
    for name in getattr(kind, "imports", ()):  # settings that are imported when they are used
        _check_trusted(str(arguments["init_args"].get(name, "")), trusted)
    try:
        return kind(**arguments["init_args"])
    except TypeError as error:
        raise ConfigError(f"{plain['class_path']}: {error}") from error


def packages(value: Any) -> set[str]:
    """The packages that settings are of, and all that is inside them: what `from_plain` is to trust."""
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return {package for each in inner for package in packages(each)}
    if is_dataclass(value) and not isinstance(value, type):
        kind, parts = type(value), {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        imported = {str(parts[name]) for name in getattr(kind, "imports", ()) if name in parts}
        return {_package(path) for path in (kind.__module__, *imported)} | packages(parts)
    return set()


def import_named(path: str) -> Any:
    """What stands at `package.module.Name`.

    Raises: ConfigError if it cannot be imported, with what to do if its file is not found.
    """
    package, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        root, dot, _ = package.partition(".")
        file = f"the folder {root}/" if dot else f"{root}.py"
        missing = isinstance(error, ModuleNotFoundError) and error.name == root
        advice = f"; run it where {file} is found, e.g. `PYTHONPATH=. raycollab run ...`" if missing else ""
        raise ConfigError(f"{path} cannot be imported: {error}{advice}") from error


def _imported(path: str, trusted: tuple[str, ...]) -> type:
    _check_trusted(path.rpartition(".")[0], ("raycollab", *trusted))
    kind = import_named(path)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ConfigError(f"{path} is not a class of settings")
    return kind


def _check_trusted(path: str, trusted: tuple[str, ...]) -> None:
    package = _package(path)
    if package not in trusted:
        raise ConfigError(
            f"{path} is not imported unasked; if you trust it, name its package, e.g. trusted=({package!r},)"
        )


def _package(path: str) -> str:
    """The outermost package of `package.module` or `package.module:name`."""
    return path.partition(":")[0].split(".")[0]
