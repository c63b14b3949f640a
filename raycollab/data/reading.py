"""How data was read, so that other files are read the same way: the table behind a source, and what it says."""

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

from raycollab.data.base import Source
from raycollab.data.table import Table


def table_within(source: Source | None) -> Table | None:
    """The table that a source reads, be it through a Holdout, a Part or another one that changes it; None if none.

    Of rows of two tables side by side it is a table with the columns of both.
    """
    if source is None or isinstance(source, Table):
        return source
    table, other = (table_within(getattr(source, name, None)) for name in ("source", "other"))
    return table if table is None or other is None else beside(table, other)


def beside(table: Table, other: Table) -> Table:
    """The same, which also reads the columns of another table as that does; of what both say, the first counts."""
    names = table.columns and other.columns and tuple(dict.fromkeys((*table.columns, *other.columns)))
    theirs = _by_column(other)
    both = {setting: {**theirs[setting], **own} for setting, own in _by_column(table).items()}
    return replace(table, columns=names, tokenizer=table.tokenizer or other.tokenizer, where={}, **both)  # type: ignore[arg-type]


def without(table: Table, names: Collection[str]) -> Table:
    """The same with nothing said of these columns."""
    left = {
        setting: {column: value for column, value in own.items() if column not in names}
        for setting, own in _by_column(table).items()
    }
    return replace(table, **left)  # type: ignore[arg-type]  # settings that are dicts


def _by_column(table: Table) -> dict[str, dict[str, Any]]:
    """What is said of single columns, by setting; `where` says which rows are read."""
    return {
        each.name: getattr(table, each.name) or {}
        for each in fields(Table)
        if str(each.type).startswith("dict[") and each.name != "where"
    }
