"""What frozen values of settings have in common: they are checked when they are made, by name. No torch, no ray."""

from collections.abc import Sequence
from functools import cache
from inspect import signature
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Self, SupportsFloat, SupportsIndex, SupportsInt, get_args, get_origin

from raycollab.errors import ConfigError

_NAMES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list or tuple",
    NoneType: "None",
}
_ACCEPTED: dict[type, tuple[type, ...]] = {
    bool: (SupportsInt,),
    int: (SupportsIndex,),
    float: (SupportsFloat,),
    str: (str,),
    tuple: (list, tuple),
    NoneType: (NoneType,),
}


class Settings:
    """Base of frozen dataclasses: a value of another type is refused by name, before `__post_init__` compares it."""

    def __new__(cls, *values: object, **named: object) -> Self:
        """Check what is given against the types of the fields; only numbers, flags, text and lists are looked at."""
        kind: type = cls
        names, kinds = _form(kind)
        for name, value in (*zip(names, values, strict=False), *named.items()):
            wanted = _wanted(kinds[name], value) if name in kinds else ""
            require(not wanted, f"{cls.__name__}.{name}", value, f"must be {wanted}")
        return super().__new__(cls)


@cache
def _form(kind: type) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names of a class's arguments in order, and the types of its fields."""
    return tuple(signature(kind).parameters), {
        name: field.type for name, field in getattr(kind, "__dataclass_fields__", {}).items()
    }


def _wanted(kind: Any, value: object) -> str:
    """What belongs into a field of this type if the value does not; empty if it does, or if that cannot be told."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    names = [_NAMES.get(get_origin(each) or each) for each in kinds]
    if None in names or any(isinstance(value, _ACCEPTED[get_origin(each) or each]) for each in kinds):
        return ""
    text = "; write str(path)" if isinstance(value, PathLike) and str in kinds else ""
    return " or ".join(name for name in names if name) + text


def require(condition: bool, setting: str, value: object, accepted: str) -> None:
    """Raise ConfigError(what was set, its value, what is accepted) unless the condition holds."""
    if not condition:
        raise ConfigError(f"{setting}={value!r}: {accepted}")


def require_one_of(setting: str, value: object, accepted: Sequence[str]) -> None:
    """Raise ConfigError unless a value is one of these words."""
    *others, last = map(repr, accepted)
    require(value in accepted, setting, value, f"must be {', '.join(others)} or {last}")
