"""Arrow columns to tensors: numbers, and lists or byte strings of one length.

Floats become float32, whole numbers and booleans int64, bytes (fixed-size binary, lists of uint8) stay uint8.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from raycollab.errors import DataError


def is_supported(kind: pa.DataType) -> bool:
    """Whether `to_tensor` accepts a column of this type."""
    if pa.types.is_dictionary(kind):
        return _is_number(kind.value_type)
    return _is_number(kind) or pa.types.is_fixed_size_binary(kind) or (_is_list(kind) and _is_number(kind.value_type))


def to_tensor(column: pa.ChunkedArray, name: str) -> torch.Tensor:
    """Return one column as a fresh tensor.

    Args:
        column: Of a supported type.
        name: What errors call it.
    Shapes: numbers -> [n]; lists or bytes of length k -> [n, k].

    Raises:
        DataError: A list is longer than another, or a value that has no NaN is null; both name the row.
    """
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_binary(array.type):
        return _bytes(array, name)
    if _is_list(array.type):
        return _lists(array, name)
    return _numbers(array, name, values_per_row=1)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _refuse_nulls(array: pa.Array, name: str, values_per_row: int = 1) -> None:
    if array.null_count:
        row = pc.index(array.is_null(), True).as_py() // values_per_row
        raise DataError(
            f"{name}: row {row} is null, and {array.type} has no NaN; fill it or drop the row before training"
        )


def _numbers(array: pa.Array, name: str, values_per_row: int) -> torch.Tensor:
    if pa.types.is_floating(array.type):
        with np.errstate(over="ignore"):  # beyond float32 is inf, which the task's checks see
            return torch.from_numpy(array.to_numpy(zero_copy_only=False).astype(np.float32))
    _refuse_nulls(array, name, values_per_row)
    if pa.types.is_uint64(array.type) and len(array) and pc.max(array).as_py() > np.iinfo(np.int64).max:
        raise DataError(f"{name}: holds {pc.max(array).as_py()}, which does not fit int64; leave the column out")
    return torch.from_numpy(array.cast(pa.int64()).to_numpy(zero_copy_only=False).copy())


def _bytes(array: pa.Array, name: str) -> torch.Tensor:
    _refuse_nulls(array, name)
    width, n = array.type.byte_width, len(array)
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + n) * width]
    return torch.from_numpy(values.reshape(n, width).copy())


def _lists(array: pa.Array, name: str) -> torch.Tensor:
    _refuse_nulls(array, name)
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    ragged = np.flatnonzero(lengths != lengths[0])
    if len(ragged):
        row = ragged[0]
        raise DataError(
            f"{name}: row {row} holds {lengths[row]} values and row 0 holds {lengths[0]}; lists must have one length"
        )
    values, width = array.flatten(), int(lengths[0])
    if pa.types.is_uint8(values.type):
        _refuse_nulls(values, name, max(width, 1))
        return torch.from_numpy(values.to_numpy(zero_copy_only=False).reshape(len(array), width).copy())
    return _numbers(values, name, max(width, 1)).reshape(len(array), width)
