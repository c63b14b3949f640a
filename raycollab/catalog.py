"""Every exported rule on a page: what it computes, with which arguments, at what cost in memory, and from where."""

import difflib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import cleandoc, isabstract

import raycollab
from raycollab.aggregation import Aggregator, Product, Stack
from raycollab.attacks.attack import KINDS
from raycollab.attacks.base import Misbehaviour
from raycollab.codecs import Codec
from raycollab.errors import ConfigError
from raycollab.learners import Learner
from raycollab.modes import Mode
from raycollab.selection import Selection
from raycollab.transforms import Transform

_WIDTH = 100
_KINDS: dict[str, tuple[type, str]] = {
    "learners": (Learner, "how agents learn"),
    "aggregators": (Aggregator, "how their updates become one: the one aggregator of a chain"),
    "transforms": (Transform, "left of the aggregator on each agent, right of it on the driver"),
    "codecs": (Codec, "how vectors are written on the wire: upload, broadcast"),
    "modes": (Mode, "which version agents start from, and whom a round waits for"),
    "selections": (Selection, "who takes part in a round: select"),
    "attacks": (Misbehaviour, "agents that misbehave, for testing a rule: attack.kind"),
}


@dataclass(frozen=True)
class Rule:
    """An exported rule.

    Args:
        kind: "learners", "aggregators", "transforms", "codecs", "modes", "selections" or "attacks".
        name: What an experiment calls it.
        form: The class.
    """

    kind: str
    name: str
    form: type

    @property
    def summary(self) -> str:
        """First sentence of its docstring."""
        return " ".join(self.text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."

    @property
    def text(self) -> str:
        """Its docstring."""
        return cleandoc(self.form.__doc__ or "")

    @property
    def formula(self) -> str:
        """What it computes, in one line; empty if it does not say."""
        found = getattr(self.form, "formula", "")
        return found if isinstance(found, str) else ""

    @property
    def source(self) -> str:
        """The paragraph that begins with "Source:" in its docstring, or in that of what it derives from; else empty."""
        texts = [cleandoc(form.__doc__ or "") for form in self.form.__mro__]
        found = (re.search(r"^Source: *(.*(?:\n +.*)*)", text, re.MULTILINE) for text in texts)
        return next((" ".join(match[1].split()) for match in found if match), "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its arguments, those that have a default with it; what can only be given by name comes last."""
        taken = [field for field in fields(self.form) if field.init] if is_dataclass(self.form) else []
        return tuple(map(_argument, sorted(taken, key=lambda field: field.kw_only is True)))

    @property
    def memory(self) -> str:
        """What hosts keep and send for an aggregator, k updates of [d] each; empty for other kinds."""
        partial = getattr(self.form, "partial", None)
        if self.kind != "aggregators" or not isinstance(partial, type):
            return "as its rule" if self.kind == "aggregators" else ""
        if issubclass(partial, Product):
            return "as its rules"
        return "[k, d]" if issubclass(partial, Stack) else "[d]"


def rules() -> list[Rule]:
    """Every concrete class of a kind among raycollab's public names, by kind and name."""
    public = [getattr(raycollab, name) for name in raycollab.__all__ if name[0].isupper()]
    known = {**{form.__name__: form for form in public if isinstance(form, type)}, **KINDS}
    return [
        Rule(kind, name, known[name])
        for kind, (base, _) in _KINDS.items()
        for name in sorted(known, key=str.lower)
        if issubclass(known[name], base) and not isabstract(known[name])
    ]


def listing() -> str:
    """All rules by kind, a few lines each."""
    found = rules()
    lines: list[str] = []
    for kind, (_, meaning) in _KINDS.items():
        mine = [rule for rule in found if rule.kind == kind]
        lines += [f"{kind.upper()}  {meaning}" if mine else f"{kind.upper()}  {meaning} (none yet)", ""]
        for rule in mine:
            lines += [*_entry(rule), ""]
    return "\n".join([*lines, "`raycollab rules NAME` prints one in full."])


def full(name: str) -> str:
    """One rule with all that its docstring says.

    Raises: ConfigError for a name that no rule has.
    """
    found = {rule.name.lower(): rule for rule in rules()}
    rule = found.get(name.lower())
    if rule is None:
        close = difflib.get_close_matches(name.lower(), found, n=1)
        guess = f"; did you mean {found[close[0]].name!r}?" if close else ""
        raise ConfigError(f"there is no rule {name!r}{guess}; `raycollab rules` lists all")
    lines = [*_signature(rule, indent=""), "", rule.text]
    facts = {"formula": rule.formula, "memory": rule.memory, "kind": f"{rule.kind}: {_KINDS[rule.kind][1]}"}
    return "\n".join([*lines, "", *(f"{title}: {value}" for title, value in facts.items() if value)])


def _entry(rule: Rule) -> Iterator[str]:
    """A rule in the listing."""
    yield from _signature(rule, indent="  ")
    yield from _wrapped(rule.summary)
    if rule.formula:
        yield from _wrapped(rule.formula, indent=6)
    if rule.memory:
        yield f"    Memory: {rule.memory}"
    if rule.source:
        yield from _wrapped(f"Source: {rule.source}")


def _signature(rule: Rule, *, indent: str) -> list[str]:
    """The name and its arguments, cut between arguments."""
    start = f"{indent}{rule.name}("
    lines = [start]
    for index, argument in enumerate(rule.arguments):
        last = index == len(rule.arguments) - 1
        piece = argument if last else f"{argument}, "
        if len(lines[-1]) + len(piece) > _WIDTH and lines[-1] != start:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * min(len(start), len(indent) + 4))
        lines[-1] += piece
    lines[-1] += ")"
    return lines


def _wrapped(text: str, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _argument(field: Field) -> str:
    if field.default is not MISSING:
        return f"{field.name}={field.default!r}"
    return field.name if field.default_factory is MISSING else f"{field.name}={field.default_factory()!r}"
