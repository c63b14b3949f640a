"""What is wrong with an experiment's plain data: the first thing that does not fit the constructors that it names."""

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from raycollab.catalog import ALL_KINDS, rules
from raycollab.errors import ConfigError
from raycollab.optimizers import BY_SHAPE, known_names
from raycollab.recipe import import_named

_WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
_INSIDE = {int: "integer", float: "number"}  # how these are written inside a list or a mapping
_OF_TORCH = ("Optimizer", "ServerOptimizer")  # the classes that take a name of torch.optim
_MAX_LISTED = 20


@dataclass(frozen=True)
class _Place:
    """Where a value stands, the setting that it is or is part of, what is declared there, and what it means."""

    path: str
    setting: str
    hint: Any
    default: Any = None
    meaning: str = ""

    def inside(self, key: object, hint: Any) -> "_Place":
        """An element of it."""
        return replace(self, path=f"{self.path}.{key}", hint=hint, default=None)


def mistake(plain: Mapping[str, Any], form: type) -> str | None:
    """The first mistake in the arguments of a class; None if they look right.

    Args:
        plain: The arguments as plain data.
        form: A class of settings, such as Experiment.
    """
    return _of_arguments(plain, form, "", "")


def _of_arguments(plain: Mapping[Any, Any], form: type, path: str, owner: str) -> str | None:
    parameters, is_open = _parameters(form)
    for key in plain:
        if key not in parameters and not is_open:
            return f"unknown key {key!r}{f' of {owner}' if owner else ''}{_accepted(str(key), parameters, 'keys')}"
    for key, value in plain.items():
        if key in parameters:
            place = parameters[key]
            found = _of_value(value, place.hint, replace(place, path=f"{path}.{key}" if path else key))
            if found is not None:
                return found
    missing = [
        key for key, place in parameters.items() if place.default is inspect.Parameter.empty and key not in plain
    ]
    needed = ", ".join(f"{key!r}{f' ({said})' if (said := parameters[key].meaning) else ''}" for key in missing)
    return f"{owner or form.__name__} needs {needed}" if missing else None


def _of_value(value: Any, hint: Any, place: _Place) -> str | None:
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return _of_union(value, get_args(hint), place)
    if origin in _WORDS:
        return None if _fits(value, origin) else _expected(value, place)
    if not isinstance(origin, type) or hint is Any:
        return None
    if issubclass(origin, Mapping):
        return _of_mapping(value, get_args(hint), place)
    if issubclass(origin, Sequence):
        return _of_list(value, _elements(hint), place)
    return _of_class(value, origin, place) if origin.__module__ not in ("builtins", "collections.abc") else None


def _fits(value: Any, kind: type) -> bool:
    """Whether a value can be read as a number, text or nothing; text may be one from the command line."""
    if kind is float and isinstance(value, str):
        return re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|[-+]?\.?(inf|nan)", value.lower()) is not None
    accepted: tuple[type, ...] = {float: (int, float), str: (str, int, float)}.get(kind, (kind,))
    return isinstance(value, accepted) and (kind in (bool, str) or not isinstance(value, bool))


def _of_union(value: Any, members: Sequence[Any], place: _Place) -> str | None:
    if value is None and NoneType in members:
        return None
    found = [_of_value(value, member, place) for member in members if member is not NoneType]
    general = _expected(value, place)
    return None if None in found else next((each for each in found if each != general), general)


def _of_mapping(value: Any, hints: Sequence[Any], place: _Place) -> str | None:
    if not isinstance(value, Mapping):
        return _expected(value, place)
    found = (_of_value(item, hints[1], place.inside(key, hints[1])) for key, item in value.items() if hints)
    return next((each for each in found if each is not None), None)


def _of_list(value: Any, hints: Sequence[Any], place: _Place) -> str | None:
    if not isinstance(value, list | tuple):
        return _expected(value, place)
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = [hints[0]] * len(value)
        found = (_of_value(item, hint, place.inside(index, hint)) for index, (item, hint) in _numbered(value, hints))
        return next((each for each in found if each is not None), None)
    wrong = len(value) != len(hints) or any(_of_value(*pair, place) for _, pair in _numbered(value, hints))
    return _expected(value, place) if wrong else None


def _elements(hint: Any) -> tuple[Any, ...]:
    """What a list declares of its elements: all alike, (int, ...), but for a tuple that says each."""
    hints = get_args(hint)
    return hints if get_origin(hint) is tuple or not hints else (hints[0], Ellipsis)


def _numbered(values: Sequence[Any], hints: Sequence[Any]) -> Iterable[tuple[int, tuple[Any, Any]]]:
    return enumerate(zip(values, hints, strict=False))


def _of_class(value: Any, base: type, place: _Place) -> str | None:
    if isinstance(value, base):
        return None  # a default that is in Python already
    if isinstance(value, str):
        value = {"class_path": value}
    if not isinstance(value, Mapping):
        return _expected(value, place)
    if "class_path" not in value:
        form = type(place.default) if isinstance(place.default, base) else base
        if inspect.isabstract(form) or not hasattr(form, "__dataclass_fields__"):
            return _expected(value, place)
        owner = f"{place.path} ({form.__name__})" if form is not base else place.path
        arguments = value.get("init_args", value)
        return _of_arguments(arguments if isinstance(arguments, Mapping) else {}, form, place.path, owner)
    found = _named(str(value["class_path"]), base, place)
    if isinstance(found, str):
        return found
    beside = {key: item for key, item in value.items() if key not in ("class_path", "init_args")}
    arguments = value.get("init_args") or {}
    if beside or not isinstance(arguments, Mapping):
        settings = {**beside, **arguments} if isinstance(arguments, Mapping) else beside
        right = f"{{class_path: {value['class_path']}, init_args: {_yaml(settings)}}}"
        wrong = f"unknown key {next(iter(beside))!r}" if beside else f"init_args is {arguments!r}"
        return f"{place.path}: {wrong} beside class_path; settings belong under init_args: {right}"
    return _of_arguments(arguments, found, place.path, f"{place.path} ({found.__name__})")


def _named(name: str, base: type, place: _Place) -> type | str:
    """The class that a name stands for in this place, or what is wrong with the name."""
    known = {rule.name: rule.form for rule in rules() if rule.kind != "attacks"}
    known |= {kind.base.__name__: kind.base for kind in ALL_KINDS.values()}
    form = known.get(name) or next((each for each in _subclasses(base) if each.__name__ == name), None)
    if form is None and "." in name:
        try:
            form = import_named(name)
        except ConfigError as error:
            return f"{place.path}: {error}"
    fitting = [
        each for each, its_form in known.items() if issubclass(its_form, base) and not inspect.isabstract(its_form)
    ]
    if form is None:
        by_torch = _by_torch(name, fitting)
        own = "; a class of your own is named as package.module.Name"
        guess = f"; write {by_torch}" if by_torch else f"{_accepted(name, fitting, 'classes')}{own}"
        return f"{place.path}: there is no {_join(_kinds(base), 'or')} {name!r}{guess}"
    if not (isinstance(form, type) and issubclass(form, base)):
        return f"{place.path}: {_misplaced(name, form)}; {place.setting} takes {_join(_kinds(base), 'and')}"
    if inspect.isabstract(form):
        return f"{place.path}: {name} is abstract: name a class that derives from it{_accepted('', fitting, 'classes')}"
    return form


def _misplaced(name: str, form: Any) -> str:
    mine = [kind for kind in ALL_KINDS.values() if isinstance(form, type) and issubclass(form, kind.base)]
    if not mine:
        return f"{name} is nothing that an experiment can name"
    return f"{name} is {_article(mine[0].base.__name__)}, which belongs in {mine[0].place}"


def _by_torch(name: str, fitting: Sequence[str]) -> str:
    """How an optimizer of torch.optim is written where a class that takes its name fits."""
    rule = next((each for each in _OF_TORCH if each in fitting), None)
    left_out = BY_SHAPE if rule == "ServerOptimizer" else ()
    known = {each.lower(): each for each in known_names() if each not in left_out}.get(name.lower())
    return f"{{class_path: {rule}, init_args: {{name: {known}}}}}" if rule and known else ""


def _expected(value: Any, place: _Place) -> str:
    members = get_args(place.hint) if get_origin(place.hint) in (Union, UnionType) else (place.hint,)
    forms = [_described(member, place.path) for member in members]
    meaning = f" ({place.setting}: {place.meaning})" if place.meaning else ""
    return f"{place.path}: expected {' or '.join(forms)}, not {_yaml(value)}{meaning}"


def _described(hint: Any, path: str = "", *, inside: bool = False) -> str:
    """A type in words; inside a list or mapping without an article."""
    origin, hints = get_origin(hint) or hint, get_args(hint)
    if origin in _WORDS:
        return _INSIDE.get(origin, _WORDS[origin]) if inside else _WORDS[origin]
    if origin in (Union, UnionType):
        return " or ".join(_described(member, path, inside=inside) for member in hints)
    if isinstance(origin, type) and issubclass(origin, Mapping) and hints:
        last = path.rpartition(".")[2]
        key = last.removeprefix("by_") if last.startswith("by_") else "name"
        return f"a mapping of {key} to {_described(hints[1], inside=True)}"
    if isinstance(origin, type) and issubclass(origin, Sequence) and hints:
        listed = ["..." if each is Ellipsis else _described(each, inside=True) for each in _elements(hint)]
        return f"{'' if inside else 'a list '}[{', '.join(listed)}]"
    if not isinstance(origin, type):
        return "a value"
    if inside:
        return " or ".join(_kinds(origin))
    example = next((rule.name for rule in rules() if issubclass(rule.form, origin)), "")
    return f"{_join(map(_article, _kinds(origin)), 'or')}{f' such as {{class_path: {example}}}' if example else ''}"


def _kinds(base: type) -> list[str]:
    """What may stand where a base is declared: itself, or for the step of a chain its two kinds."""
    below = [kind.base.__name__ for kind in ALL_KINDS.values() if issubclass(kind.base, base)]
    return below or [base.__name__]


def _join(words: Iterable[str], last: str) -> str:
    return f" {last} ".join(words)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'AEIO' else 'a'} {word}"


def _accepted(word: str, names: Iterable[str], what: str) -> str:
    """The likely meaning of a word, and what is accepted if that is not too much."""
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lower, n=1)
    guess = f"; did you mean {lower[close[0]]!r}?" if close else ""
    if not lower and what == "keys":
        return "; it takes no settings"
    listed = f" accepted {what}: {', '.join(lower.values())}" if 0 < len(lower) <= _MAX_LISTED else ""
    many = "" if listed or close else f"; `raycollab rules` lists all {what}" if what == "classes" else ""
    if not listed:
        return guess or many
    return f"{guess}{listed}" if guess else f";{listed}"


def _parameters(form: type) -> tuple[dict[str, _Place], bool]:
    """What a class is made from, by name; and whether it takes any other name too."""
    try:
        hints = get_type_hints(inspect.getattr_static(form, "__init__"))
    except NameError:
        hints = {}
    taken = list(inspect.signature(form).parameters.values())
    named = [each for each in taken if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    places = {
        each.name: _Place("", each.name, hints.get(each.name, Any), each.default, _meaning(form, each.name))
        for each in named
    }
    return places, len(named) < len(taken)


def _meaning(form: type, name: str) -> str:
    """The first sentence that the docstring says about an argument."""
    for each in form.__mro__:
        text = inspect.cleandoc(each.__doc__ or "")
        found = re.search(rf"^ +{name}: (.*(?:\n {{5,}}.*)*)", text, re.MULTILINE)
        if found is not None:
            return re.split(r"(?<=\w)[.;] ", " ".join(found[1].split()))[0].rstrip(".")
    return ""


def _subclasses(base: type) -> Iterable[type]:
    below: list[type] = base.__subclasses__()
    for each in below:
        yield each
        yield from _subclasses(each)


def _yaml(value: Any) -> str:
    """Plain data as it is written in a file, in one line."""
    if isinstance(value, str):
        return repr(value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()
