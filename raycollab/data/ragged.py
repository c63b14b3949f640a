"""Time series of any length in a column, to windows of one length."""

import numpy as np
import pyarrow as pa
import torch

from raycollab.data.decoded import Decoded


def is_series(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold series: bytes, or lists of numbers."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary)


def decode_series(column: pa.ChunkedArray, steps: int, channels: int) -> Decoded:
    """The first steps of each row's series.

    Args:
        column: Of a row's values step by step, all channels of a step together: bytes, or a list of numbers.
        steps: What is kept of the beginning. A shorter series is bad: zeros at its end would be data.
        channels: Values a step.
    Shapes: n series -> [n, steps, channels], uint8 of bytes, else float32.
    """
    kind = column.type
    as_bytes = not hasattr(kind, "value_type") or pa.types.is_uint8(kind.value_type)
    windows = np.zeros((len(column), steps * channels), np.uint8 if as_bytes else np.float32)
    bad: dict[int, str] = {}
    for row, held in enumerate(column):
        reason = "is null; drop the row before training" if not held.is_valid else ""
        values = np.empty(0) if reason else _values(held)
        reason = reason or _wrong(len(values), steps, channels)
        if reason:
            bad[row] = reason
        else:
            windows[row] = values[: steps * channels]
    return Decoded(torch.from_numpy(windows).reshape(-1, steps, channels), bad)


def _values(held: pa.Scalar) -> np.ndarray:
    if hasattr(held, "values"):
        return held.values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    return np.frombuffer(held.as_py(), np.uint8)


def _wrong(length: int, steps: int, channels: int) -> str:
    """What is wrong with a series of so many values; empty if nothing is."""
    if length % channels:
        return f"holds {length} values, which are no whole steps of {channels} channels; correct the row"
    if length < steps * channels:
        return f"holds {length // channels} steps, and {steps} are kept; take a shorter window or drop the row"
    return ""
