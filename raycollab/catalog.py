"""Everything that an experiment can name, on a page: what it does, with which arguments, and from where."""

import difflib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import cleandoc, isabstract

import raycollab
from raycollab.adapt import Action, AtTest, Detector
from raycollab.aggregation import Aggregator, Product, Stack
from raycollab.attacks.attack import KINDS
from raycollab.attacks.base import Misbehaviour
from raycollab.codecs import Codec
from raycollab.data import Distortion, Partition, Source, Tokenizer
from raycollab.errors import ConfigError
from raycollab.fusion import Fusion
from raycollab.growth import When
from raycollab.learners import Learner
from raycollab.meta import Episodes
from raycollab.models import Adapter, Model, SubModel
from raycollab.modes import Durations, Mode
from raycollab.population import Population
from raycollab.privacy import Accountant
from raycollab.recipe import import_named
from raycollab.schedules import Schedule
from raycollab.selection import Selection
from raycollab.task import Task
from raycollab.tasks import Augmentation
from raycollab.transforms import Transform

WIDTH = 100


@dataclass(frozen=True)
class Kind:
    """What the classes of one base have in common.

    Args:
        base: What they derive from.
        place: The keys of an experiment where they belong.
        meaning: What they are for, in a line.
    """

    base: type
    place: str
    meaning: str


ALL_KINDS: dict[str, Kind] = {
    "tasks": Kind(Task, "task", "what is learned: the model, its loss and its metrics"),
    "models": Kind(Model, "a task's net", "the network of a task"),
    "submodels": Kind(SubModel, "an agent's holds", "which part of the common net an agent holds"),
    "fusions": Kind(Fusion, "fusion of a Multimodal net", "how features of several modalities become one vector"),
    "augmentations": Kind(Augmentation, "augment of an image task", "other views of images, drawn in training"),
    "adapters": Kind(Adapter, "Adapted's adapter", "what learns inside a net that stays as it is"),
    "populations": Kind(Population, "agents", "who the agents are: named one by one, or one data set dealt out"),
    "sources": Kind(Source, "test, source, shard or public", "where data is"),
    "tokenizers": Kind(Tokenizer, "a text source's tokenizer", "how text becomes tokens"),
    "distortions": Kind(Distortion, "a Split's skew, or Distorted", "what a party's own sensor does to its examples"),
    "partitions": Kind(Partition, "a Split's partition", "who holds what of one data set"),
    "learners": Kind(Learner, "learner or learners", "how agents learn"),
    "aggregators": Kind(Aggregator, "chain", "how their updates become one: the one aggregator of a chain"),
    "detectors": Kind(Detector, "a Watch's detector", "what tells that data has drifted"),
    "actions": Kind(Action, "a Watch's actions", "what an agent does once its data has drifted"),
    "growth": Kind(When, "Growth's when", "when the common model grows"),
    "at-test": Kind(AtTest, "Adapted's method, or predict's adapt", "what adapts to unlabelled examples in use"),
    "episodes": Kind(Episodes, "a meta-learner's tasks", "where small tasks come from"),
    "transforms": Kind(Transform, "chain", "left of the aggregator on each agent, right of it on the driver"),
    "accountants": Kind(Accountant, "accountant of DPSGD and the like", "what epsilon is counted by"),
    "codecs": Kind(Codec, "upload or broadcast", "how vectors are written on the wire"),
    "modes": Kind(Mode, "mode", "which version agents start from, and whom a round waits for"),
    "durations": Kind(Durations, "a mode's durations", "how long agents take, as a mode simulates it"),
    "schedules": Kind(Schedule, "schedule", "a factor on a rate over the run"),
    "selections": Kind(Selection, "select", "who takes part in a round"),
    "attacks": Kind(Misbehaviour, "attack.kind", "agents that misbehave, for testing a rule"),
}
# their classes are not all names of raycollab itself
_PACKAGES = ("adapt", "data", "fusion", "growth", "models", "tasks", "privacy")


@dataclass(frozen=True)
class Rule:
    """A class that an experiment can name.

    Args:
        kind: "learners", "aggregators", "transforms" or another key of ALL_KINDS.
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
    def inherited(self) -> str:
        """What the classes that it derives from say of the settings that it takes over from them."""
        texts = [cleandoc(form.__dict__.get("__doc__") or "") for form in self.form.__mro__[1:] if is_dataclass(form)]
        found = (re.search(r"^Args:\n((?: .*\n?)+)", text, re.MULTILINE) for text in texts)
        return "\n".join(match[1].rstrip() for match in found if match)

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
    """Every concrete class of a kind that has a public name and settings that a file can hold, by kind and name.

    Two kinds may have one of the same name.
    """
    modules = [raycollab, *(getattr(raycollab, name) for name in _PACKAGES)]
    public = [getattr(module, name) for module in modules for name in module.__all__ if name[0].isupper()]
    settings = {form for form in public if isinstance(form, type) and is_dataclass(form) and not isabstract(form)}
    known = sorted([*((form.__name__, form) for form in settings), *KINDS.items()], key=lambda each: each[0].lower())
    return [
        Rule(kind, name, form)
        for kind, about in ALL_KINDS.items()
        for name, form in known
        if issubclass(form, about.base) and not isabstract(form)
    ]


def index(width: int = WIDTH) -> str:
    """All rules by kind, a line each."""
    found = rules()
    longest = max(len(rule.name) for rule in found)
    lines: list[str] = []
    for kind in ALL_KINDS:
        lines += [_heading(kind), ""]
        lines += [_line(rule, longest, width) for rule in found if rule.kind == kind]
        lines.append("")
    more = "`raycollab rules NAME` prints one in full, `raycollab rules learners` a kind, `raycollab rules --all` all."
    return "\n".join([*lines, *textwrap.wrap(more, width)])


def listing(kinds: tuple[str, ...] = tuple(ALL_KINDS)) -> str:
    """The rules of these kinds, a few lines each."""
    found = rules()
    lines: list[str] = []
    for kind in kinds:
        lines += [_heading(kind), ""]
        for rule in (rule for rule in found if rule.kind == kind):
            lines += [*_entry(rule), ""]
    return "\n".join([*lines, "`raycollab rules NAME` prints one in full."])


def page(name: str) -> str:
    """What a name stands for: all rules of a kind, a rule of raycollab, or one of your own as package.module.Name.

    Raises: ConfigError for a name that is none of these.
    """
    if name.lower() in ALL_KINDS:
        return listing((name.lower(),))
    found = rules()
    named = [rule for rule in found if rule.name.lower() == name.lower()]
    if named:
        return "\n\n".join(map(full, named))
    if "." in name:
        return full(_own(name))
    names = {**{kind: kind for kind in ALL_KINDS}, **{rule.name.lower(): rule.name for rule in found}}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    guess = f"; did you mean {names[close[0]]!r}?" if close else ""
    raise ConfigError(
        f"there is no rule {name!r}{guess}; `raycollab rules` lists all; one of your own is named as "
        f"package.module.Name"
    )


def full(rule: Rule) -> str:
    """One rule with all that its docstring says."""
    lines = [*_signature(rule, indent=""), "", rule.text]
    if rule.inherited:
        lines += ["", "Settings in common with others of its kind:", rule.inherited]
    kind = ALL_KINDS[rule.kind]
    facts = {
        "formula": rule.formula,
        "memory": rule.memory,
        "kind": f"{rule.kind}: {kind.meaning}",
        "belongs in": kind.place,
    }
    return "\n".join([*lines, "", *(f"{title}: {value}" for title, value in facts.items() if value)])


def _own(path: str) -> Rule:
    """A user's class; it is imported."""
    form = import_named(path)
    bases = {kind: about.base for kind, about in ALL_KINDS.items()}
    kind = next((kind for kind, base in bases.items() if isinstance(form, type) and issubclass(form, base)), None)
    if kind is None:
        raise ConfigError(
            f"{path} is nothing that an experiment can name: derive it from one of "
            f"{', '.join(base.__name__ for base in bases.values())}"
        )
    return Rule(kind, form.__name__, form)


def _heading(kind: str) -> str:
    about = ALL_KINDS[kind]
    return f"{kind.upper()}  {about.meaning} ({about.place})"


def _line(rule: Rule, longest: int, width: int) -> str:
    """A rule in the index."""
    room = max(width - longest - 4, 20)
    return f"  {rule.name:{longest}}  {textwrap.shorten(rule.summary, room, placeholder=' ...')}"


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
    for number, argument in enumerate(rule.arguments):
        last = number == len(rule.arguments) - 1
        piece = argument if last else f"{argument}, "
        if len(lines[-1]) + len(piece) + last > WIDTH and lines[-1] != start:  # the last one is closed
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * min(len(start), len(indent) + 4))
        lines[-1] += piece
    lines[-1] += ")"
    return lines


def _wrapped(text: str, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _argument(field: Field) -> str:
    if field.default is not MISSING:
        return f"{field.name}={field.default!r}"
    return field.name if field.default_factory is MISSING else f"{field.name}={field.default_factory()!r}"
