"""What the agents found in their shards, side by side."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycollab.quality.comparison import differences
from raycollab.quality.examination import Examination

_MOST_NAMED = 8
_HEADINGS = ("agent", "examples", "unreadable", "missing", "duplicates", "near", "in test", "labels", "suspects")


def examination_table(found: Sequence[Examination]) -> RenderableType:
    """A line an agent, and below what needs words: values that differ from the others', labels that were not judged."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in _HEADINGS:
        table.add_column(name, justify="left" if name == "agent" else "right", no_wrap=True)
    for each in found:
        table.add_row(*_cells(each))
    return Group(table, *map(Text, _remarks(found)))


def _cells(each: Examination) -> list[Text]:
    if each.error:
        return [Text(each.agent), Text("cannot be opened")]
    by_label = each.labels.counts
    missing = sum(each.missing.values())
    counts = (each.examples, each.unreadable, missing, each.duplicates, each.near_duplicates, each.in_test)
    covered = f"{sum(count > 0 for count in by_label)} of {len(by_label)}" if by_label else "-"
    suspects = "-" if each.suspects is None else f"{each.suspects:,}"
    return [Text(cell) for cell in (each.agent, *(f"{count:,}" for count in counts), covered, suspects)]


def _remarks(found: Sequence[Examination]) -> list[str]:
    lines = [f"{each.agent}: {each.error}" for each in found if each.error]
    for each in found:
        if each.labels.unknown:
            lines.append(f"{each.agent}: {each.labels.unknown:,} labels are {each.labels.strange}")
        lines += [f"{each.agent}: {count:,} missing values in {name!r}" for name, count in each.missing.items()]
    lines += [f"{agent}: {text}" for agent, texts in differences(found).items() for text in texts]
    lines += [f"labels are not judged, because {reason}: {agents}" for reason, agents in _unjudged(found).items()]
    suspects = sum(each.suspects or 0 for each in found)
    if suspects:
        total = sum(each.examples for each in found)
        lines.append(
            f"{suspects:,} of {total:,} labels are likely wrong; `quality: drop` of a Split or party leaves them out, "
            f"`down-weight` lets them count half"
        )
    return lines


def _unjudged(found: Sequence[Examination]) -> dict[str, str]:
    """Agents whose labels are not judged, by the reason."""
    agents: dict[str, list[str]] = {}
    for each in found:
        if each.labels.counts and each.unjudged:
            agents.setdefault(each.unjudged, []).append(each.agent)
    told = {reason: ", ".join(names[:_MOST_NAMED]) for reason, names in agents.items()}
    for reason, names in agents.items():
        if len(names) > _MOST_NAMED:
            told[reason] += f" and {len(names) - _MOST_NAMED} more"
    return told
