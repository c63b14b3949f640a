"""Lines that follow from each other: whatever is changed in one of them can be found, and named.

A line is canonical JSON, {"hash", "prev", "record", "sums"}: `prev` is the hash of the line before, `sums` holds four
digits for each field of the record, by which a changed one is named, and `hash` is the SHA-256 over the other three.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

_KEYS = {"hash", "prev", "record", "sums"}
_SUM = 4  # digits of a field's sum: they only name what the hash has found
_MOST_NAMED = 3
FIRST = "0" * 64  # what the first line follows


@dataclass(frozen=True)
class Line:
    """A line that is whole."""

    number: int  # from 1
    hash: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    place: str  # a line of the ledger, or a file
    field: str
    what: str

    def __str__(self) -> str:
        field = f", field {self.field}" if self.field else ""
        return f"{self.place}{field}: {self.what}"


def canonical(value: object) -> str:
    """The one way in which plain values are written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def line_of(record: Mapping[str, Any], prev: str) -> tuple[str, str]:
    """A record as a line that follows the one of this hash; and its own hash."""
    body = {"prev": prev, "record": record, "sums": "".join(each for _, each in _sums(record))}
    found = _hash(body)
    return canonical({**body, "hash": found}), found


def read_lines(data: bytes) -> tuple[list[Line], list[Finding]]:
    """The lines that are whole, and what is wrong with the others."""
    texts, torn = data.split(b"\n")[:-1], data.split(b"\n")[-1]
    lines: list[Line] = []
    findings: list[Finding] = []
    prev: str | None = FIRST
    for number, text in enumerate(texts, start=1):
        found = _checked(text, number, prev)
        (findings if isinstance(found, Finding) else lines).append(found)  # type: ignore[arg-type]
        prev = found.hash if isinstance(found, Line) else None  # what follows a bad line is looked at by itself
    if torn:
        remedy = "if a kill or a full disk did it, `raycollab resume` cuts it off and goes on"
        findings.append(Finding(f"line {len(texts) + 1}", "", f"it has no end; {remedy}"))
    return lines, findings


def _checked(text: bytes, number: int, prev: str | None) -> Line | Finding:
    """The line, or the first thing that is wrong with it."""
    place = f"line {number}"
    try:
        found = json.loads(text.decode())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else error.pos
        return Finding(place, _field_at(text, at), f"it is no JSON any more: {error}")
    if not (isinstance(found, dict) and set(found) == _KEYS and isinstance(found["record"], dict)):
        return Finding(place, "", f"it must hold {sorted(_KEYS)}, and a record")
    if changed := _changed(found, prev):
        return Finding(place, changed, "it was changed")
    if (written := _canonical(found)) != text:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, written, strict=False)))
        return Finding(place, _field_at(text, same), "it is not written as a ledger writes it")
    if prev is not None and found["prev"] != prev:
        return Finding(place, "prev", "it does not follow from the line before: one was removed, added or written anew")
    return Line(number, found["hash"], found["record"])


def _changed(found: Mapping[str, Any], prev: str | None) -> str:
    """The fields of a line that do not fit its hash; empty if all do."""
    body = {name: found[name] for name in ("prev", "record", "sums")}
    if _hash(body) == found["hash"]:
        return ""
    sums, written = list(_sums(found["record"])), str(found["sums"])
    expected = "".join(each for _, each in sums)
    if _hash({**body, "sums": expected}) == found["hash"]:
        return "sums"
    if len(expected) != len(written):
        return "record"
    named = [name for place, (name, each) in enumerate(sums) if written[_SUM * place : _SUM * (place + 1)] != each]
    if not named:
        return "prev" if prev is not None and _hash({**body, "prev": prev}) == found["hash"] else "hash"
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()


def _canonical(value: object) -> bytes:
    try:
        return canonical(value).encode()
    except ValueError:  # NaN, which no ledger holds
        return b""


def _sums(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Four digits for each field, by its name."""
    for path, value in sorted(_fields(record, ())):
        text = canonical([*path, None if isinstance(value, float) and value != value else value])
        yield ".".join(path), hashlib.sha256(text.encode()).hexdigest()[:_SUM]


def _fields(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, (*path, name))
        else:
            yield (*path, name), value


def _field_at(text: bytes, position: int) -> str:
    """The name that stands last before a place in a line."""
    names = re.findall(r'"((?:[^"\\]|\\.)*)"\s*:', text[: position + 1].decode(errors="replace"))
    return names[-1] if names else ""
