"""What the agents found in their shards, side by side."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycollab.quality.comparison import differences
from raycollab.quality.examination import Examination

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
    held = sum(count > 0 for count in each.labels)
    missing = sum(each.missing.values())
    counts = (each.examples, each.unreadable, missing, each.duplicates, each.near_duplicates, each.in_test)
    covered = f"{held} of {len(each.labels)}" if each.labels else "-"
    suspects = "-" if each.suspects is None else f"{each.suspects:,}"
    return [Text(cell) for cell in (each.agent, *(f"{count:,}" for count in counts), covered, suspects)]


def _remarks(found: Sequence[Examination]) -> list[str]:
    lines = [f"{each.agent}: {each.error}" for each in found if each.error]
    for each in found:
        if each.unknown_labels:
            lines.append(f"{each.agent}: {each.unknown_labels:,} labels are outside 0..{len(each.labels) - 1}")
        lines += [f"{each.agent}: {count:,} missing values in {name!r}" for name, count in each.missing.items()]
    lines += [f"{agent}: {text}" for agent, texts in differences(found).items() for text in texts]
    blind = [each for each in found if each.labels and each.suspects is None and not each.error]
    if blind:
        names = ", ".join(each.agent for each in blind[:8]) + (f" and {len(blind) - 8} more" if len(blind) > 8 else "")
        lines.append(f"labels are not judged, because examples alike do not share them: {names}")
    suspects = sum(each.suspects or 0 for each in found)
    if suspects:
        total = sum(each.examples for each in found)
        lines.append(
            f"{suspects:,} of {total:,} labels are likely wrong; `quality: drop` of a Split or party leaves them out, "
            f"`down-weight` lets them count half"
        )
    return lines
