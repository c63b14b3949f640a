"""What to say when a net cannot be given the data: which column, torch's own words, and the remedy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor

from raycollab.errors import RaycollabError

_RAISED = (RuntimeError, ValueError, TypeError, IndexError)  # by layers that are given another form than they expect


@contextmanager
def explained(kind: type[RaycollabError], what: str, remedy: str) -> Iterator[None]:
    """Turn what a net raises inside into an error that says what was done, torch's first line, and the remedy."""
    try:
        yield
    except (RaycollabError, torch.OutOfMemoryError):
        raise
    except _RAISED as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise kind(f"{what}: {first}; {remedy}") from error


def inputs_of(task: object, columns: Mapping[str, Any]) -> dict[str, Tensor]:
    """The columns that a task gives its net, as far as it says; else all but its labels."""
    known, label = input_names(task), getattr(task, "label", None)
    there = bool(known) and all(name in columns for name in known)
    names = known if there else [each for each in columns if each != label]
    return {each: columns[each] for each in names if isinstance(columns[each], Tensor)}


def input_names(task: object) -> tuple[str, ...]:
    """Names of the columns that a task gives its net; empty if it does not say."""
    names = getattr(task, "inputs", ())
    return (names,) if isinstance(names, str) else tuple(names)


def described(columns: Mapping[str, Tensor]) -> str:
    """Names, types and shapes of columns, such as `column 'image' (float32 [n, 1, 8, 8])`."""
    return ", ".join(f"column {name!r} ({form(column)})" for name, column in columns.items())


def form(column: Tensor) -> str:
    """Type and shape of a column with any number of rows, such as `float32 [n, 1, 8, 8]`."""
    return f"{str(column.dtype).removeprefix('torch.')} [{', '.join(['n', *map(str, column.shape[1:])])}]"


def remedy(net: object, columns: Mapping[str, Tensor]) -> str:
    """What makes a net and the columns that it is given fit each other."""
    settings: dict[str, int] = {}
    for name, column in columns.items():
        shape = tuple(column.shape[1:])
        if len(shape) == 1 and (column.dtype == torch.uint8 or hasattr(net, "in_channels")):
            example = f"`shapes: {{{name}: {_image_shape(shape[0])}}}`"
            return f"tell the sources of the agents and of the test set the shape of one example, such as {example}"
        if column.dtype in (torch.uint8, torch.float64):
            return f"give {name!r} as float32" + (", divided by 255" if column.dtype == torch.uint8 else "")
        settings = {"num_features": prod(shape)}
        settings |= {"in_channels": shape[0], "size": shape[-1]} if len(shape) == 3 else {}
    wrong = [f"{name}={value}" for name, value in settings.items() if getattr(net, name, value) != value]
    return f"set {' and '.join(wrong)}" if wrong else "change the net, or the form of the data"


def _image_shape(num_values: int) -> str:
    """The likely [channels, height, width] of so many values: a square, gray or in three colours."""
    for channels in (1, 3):
        size = isqrt(num_values // channels)
        if channels * size**2 == num_values:
            return f"[{channels}, {size}, {size}]"
    return "[CHANNELS, HEIGHT, WIDTH]"
