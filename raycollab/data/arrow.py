"""Arrow columns to tensors: numbers, and lists or byte strings of one length.

Floats become float32, whole numbers and booleans int64, bytes (fixed-size binary, lists of uint8) stay uint8.
"""

from math import prod

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from raycollab.data.decoded import Decoded

_FILL = "fill it or drop the row before training"


def is_supported(kind: pa.DataType) -> bool:
    """Whether `decode_numbers` accepts a column of this type."""
    if pa.types.is_dictionary(kind):
        return _is_number(kind.value_type)
    return _is_number(kind) or pa.types.is_fixed_size_binary(kind) or (_is_list(kind) and _is_number(kind.value_type))


def decode_numbers(column: pa.ChunkedArray, shape: tuple[int, ...] | None = None) -> Decoded:
    """Return one column as a fresh tensor.

    Args:
        column: Of a supported type.
        shape: What an example should hold, if that is known: it says how long lists must be.
    Shapes: numbers -> [n]; lists or bytes of length k -> [n, k]. A list of another length, and a null that has no
        NaN, are bad.
    """
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_binary(array.type):
        return _bytes(array)
    if _is_list(array.type):
        return _lists(array, shape)
    return _numbers(array)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _nulls(array: pa.Array) -> np.ndarray:
    return np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else np.empty(0, int)


def _numbers(array: pa.Array) -> Decoded:
    if pa.types.is_floating(array.type):
        with np.errstate(over="ignore"):  # beyond float32 is inf, which the task's checks see
            return Decoded(torch.from_numpy(array.to_numpy(zero_copy_only=False).astype(np.float32)))
    bad = {int(row): f"is null, and {array.type} has no NaN; {_FILL}" for row in _nulls(array)}
    filled = array.fill_null(False if pa.types.is_boolean(array.type) else 0) if bad else array
    if pa.types.is_uint64(array.type):
        most = np.iinfo(np.int64).max
        large = filled.to_numpy(zero_copy_only=False) > most
        bad |= {
            int(row): f"holds {filled[row]}, which does not fit int64; leave the column out"
            for row in np.flatnonzero(large)
        }
        filled = pc.min_element_wise(filled, pa.scalar(most, pa.uint64()))
    return Decoded(torch.from_numpy(filled.cast(pa.int64()).to_numpy(zero_copy_only=False).copy()), bad)


def _bytes(array: pa.Array) -> Decoded:
    width, n = array.type.byte_width, len(array)
    bad = {int(row): f"is null, and bytes have no NaN; {_FILL}" for row in _nulls(array)}
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + n) * width]
    values = values.reshape(n, width).copy()
    values[list(bad)] = 0
    return Decoded(torch.from_numpy(values), bad)


def _lists(array: pa.Array, shape: tuple[int, ...] | None) -> Decoded:
    nulls = _nulls(array)
    lengths = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
    held = lengths[lengths >= 0]
    width = prod(shape) if shape and (held == prod(shape)).any() else int(held[0]) if len(held) else 0
    bad = {int(row): f"is null; {_FILL}" for row in nulls}
    for row in np.flatnonzero((lengths != width) & (lengths >= 0)):
        bad[int(row)] = f"holds {lengths[row]} values and others hold {width}; lists must have one length"
    good = np.flatnonzero(lengths == width)
    inner = (array if len(good) == len(array) else array.take(pa.array(good))).flatten()
    if pa.types.is_uint8(inner.type) and not inner.null_count:
        values = torch.from_numpy(inner.to_numpy(zero_copy_only=False).copy())
    else:
        decoded = _numbers(inner)
        values = decoded.values
        for place, reason in decoded.bad.items():
            bad.setdefault(int(good[place // width]), reason)
    whole = torch.zeros(len(array), width, dtype=values.dtype)
    whole[torch.from_numpy(good)] = values.reshape(len(good), width)
    return Decoded(whole, bad)
