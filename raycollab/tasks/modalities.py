"""Which modalities rows have, and subsets of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from raycollab.data import presence_of
from raycollab.errors import DataError, RowError
from raycollab.tasks.inputs import finite_rows
from raycollab.tasks.tokens import check_tokens


def presence(columns: Mapping[str, Tensor], names: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values by modality, for those that have a column, and which rows have them where not all do: bool [n].

    Args:
        columns: By their names.
        names: The column of each modality.
    """
    there = {modality: column for modality, column in names.items() if column in columns}
    marks = {modality: presence_of(column) for modality, column in there.items()}
    present = {modality: columns[mark].bool() for modality, mark in marks.items() if mark in columns}
    return {modality: columns[column] for modality, column in there.items()}, present


def dropped(values: Mapping[str, Tensor], present: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """Which rows still have each modality, after each was taken from a row at a chance; none is left without any.

    Draws from torch's generator, which an agent has seeded for its round.
    """
    names = sorted(values)
    first = values[names[0]]
    everything = torch.ones(len(first), dtype=torch.bool, device=first.device)
    there = torch.stack([present.get(name, everything) for name in names])  # [m, b]
    kept = there & (torch.rand(there.shape, device=first.device) >= rate)
    kept = torch.where(kept.any(0), kept, there)
    return dict(zip(names, kept, strict=True))


def on_subset(
    features: Mapping[str, Tensor], present: Mapping[str, Tensor], names: tuple[str, ...]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """What is left with these modalities alone: the rows that have one of them, their features, and who has what."""
    first = features[names[0]]
    everything = torch.ones(len(first), dtype=torch.bool, device=first.device)
    there = {name: present.get(name, everything) for name in names}
    rows = torch.stack(list(there.values())).any(0).nonzero()[:, 0]
    return rows, {name: features[name][rows] for name in names}, {name: mask[rows] for name, mask in there.items()}


def check_modalities(
    columns: Mapping[str, Tensor],
    names: Mapping[str, str],
    vocabularies: Mapping[str, int | None],
    where: str,
    bad_rows: str,
) -> Tensor:
    """Which rows have a modality, and only finite values in those that they have: bool [n].

    Args:
        columns: By their names.
        names: The column of each modality.
        vocabularies: Tokens that each modality's encoder knows, if it takes any.
        where: What errors call the rows.
        bad_rows: Whether others are an "error".
    Raises: DataError for none of the columns, columns of another form, or bad rows if they are an error.
    """
    values, _ = presence(columns, names)
    if not values:
        wanted = ", ".join(f"{modality!r} (column {column!r})" for modality, column in names.items())
        raise DataError(
            f"{where}: holds none of the modalities {wanted}; its columns are: {', '.join(sorted(columns))}; name "
            f"them with columns={{MODALITY: COLUMN}}, or give this agent another task"
        )
    there = {modality: _marked(columns, names[modality], where) for modality in values}
    known = {names[m]: v.masked_fill(~there[m].view(-1, *(1 for _ in v.shape[1:])), 0) for m, v in values.items()}
    for modality in values:
        _check_form(known, names[modality], where, vocabularies[modality])
    good = finite_rows(known, tuple(known), where, bad_rows)
    some = torch.stack(list(there.values())).any(0)
    if bad_rows == "error" and not bool(some.all()):
        what = (
            f" has none of the modalities {', '.join(values)} "
            f"({int((~some).sum())} such rows); leave them out, or set bad_rows='drop'"
        )
        raise RowError.of(where, int((~some).nonzero()[0]), what)
    return good & some


def _marked(columns: Mapping[str, Tensor], column: str, where: str) -> Tensor:
    """Which rows have something in a column: bool [n]."""
    mark = columns.get(presence_of(column))
    if mark is None:
        return torch.ones(len(columns[column]), dtype=torch.bool, device=columns[column].device)
    if mark.ndim != 1 or bool(((mark != 0) & (mark != 1)).any()):
        raise DataError(
            f"{where}: column {presence_of(column)!r} of shape {list(mark.shape)} must say with 0 and 1 which rows "
            f"have something in {column!r}"
        )
    return mark.bool()


def _check_form(columns: Mapping[str, Tensor], column: str, where: str, vocab_size: int | None) -> None:
    """Raise DataError for what is neither floats nor rows of tokens."""
    values = columns[column]
    if values.is_floating_point():
        return
    if values.ndim != 2:
        kind = str(values.dtype).removeprefix("torch.")
        raise DataError(
            f"{where}: column {column!r} holds {kind} of shape {list(values.shape)}; give floats [n, ...], or texts as "
            f"rows of tokens [n, length]"
        )
    check_tokens(columns, column, where, vocab_size)
