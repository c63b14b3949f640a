"""Names in a column to whole numbers."""

from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from raycollab.data.decoded import Decoded

_MAX_LISTED = 10


def is_named(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold names: text, whole numbers or flags, coded as a dictionary or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def decode_categories(column: pa.ChunkedArray, names: tuple[str, ...], other: str | None = None) -> Decoded:
    """The place of each row's value among the names, int64 [n].

    Any other value counts as `other`, one of the names; without it, as nulls always are, it is bad.
    """
    held = _plain(column).cast(pa.string())
    if other is not None:
        known = pc.is_in(held, pa.array(names, pa.string()))
        held = pc.if_else(pc.or_(known, held.is_null()), held, pa.scalar(other, pa.string()))
    places = pc.index_in(held, pa.array(names, pa.string()))
    bad = {int(row): _strange(held[row].as_py(), names) for row in np.flatnonzero(places.is_null())}
    return Decoded(torch.from_numpy(places.fill_null(0).cast(pa.int64()).to_numpy(zero_copy_only=False).copy()), bad)


def names_in(column: pa.ChunkedArray) -> tuple[str, ...]:
    """Each different value as a name, sorted, without nulls."""
    return tuple(sorted(_plain(column).cast(pa.string()).unique().drop_null().to_pylist()))


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """A whole number for each different value, in the order of the values; -1 for nulls."""
    held = _plain(column)
    different = held.unique().drop_null()
    different = different.take(pc.sort_indices(different))
    return pc.index_in(held, different).fill_null(-1).cast(pa.int64()).to_numpy(zero_copy_only=False)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _strange(value: str | None, names: tuple[str, ...]) -> str:
    if value is None:
        return "is null; fill it or drop the row before training"
    close = get_close_matches(value, names, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )
    return (
        f"holds {value!r}, which is none of: {listed}; {guess}add it to categories or correct the row, or name one of "
        f"them in other= that such rows count as"
    )
