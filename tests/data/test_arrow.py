"""Which Arrow types become which tensors."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import Parquet
from raycollab.data.arrow import decode_numbers


def write(path: Path, columns: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    ("values", "kind", "expected", "dtype"),
    [
        ([1, -2, 3], pa.int8(), [1, -2, 3], torch.int64),
        ([1, 2, 3], pa.uint8(), [1, 2, 3], torch.int64),
        ([1, 2, 3], pa.uint64(), [1, 2, 3], torch.int64),
        ([True, False, True], pa.bool_(), [1, 0, 1], torch.int64),
        ([0.5, 1.5, 2.5], pa.float64(), [0.5, 1.5, 2.5], torch.float32),
        ([0.5, 1.5, 2.5], pa.float16(), [0.5, 1.5, 2.5], torch.float32),
        ([1e300, 0.0, 0.0], pa.float64(), [float("inf"), 0.0, 0.0], torch.float32),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32()), [[1, 2], [3, 4], [5, 6]], torch.float32),
        ([[1, 2], [3, 4], [5, 6]], pa.large_list(pa.int16()), [[1, 2], [3, 4], [5, 6]], torch.int64),
        ([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2), [[1, 2], [3, 4], [5, 6]], torch.int64),
        ([[1, 2], [3, 4], [5, 255]], pa.list_(pa.uint8()), [[1, 2], [3, 4], [5, 255]], torch.uint8),
        ([b"\0\1", b"\2\3", b"\4\xff"], pa.binary(2), [[0, 1], [2, 3], [4, 255]], torch.uint8),
        ([7, 7, 8], pa.dictionary(pa.int8(), pa.int32()), [7, 7, 8], torch.int64),
    ],
)
def test_types(tmp_path, values, kind, expected, dtype):
    path = write(tmp_path / "t.parquet", {"x": pa.array(values, kind), "label": [0, 1, 2]})
    columns = Parquet(path).read()
    assert columns["x"].dtype == dtype
    assert columns["x"].tolist() == expected
    assert columns["label"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int64()), pa.list_(pa.int64(), 2), pa.binary(2), pa.int32(), pa.float64()]
)
def test_slices_of_a_larger_array(kind):
    """An Arrow array may start in the middle of its buffer."""
    values = {pa.binary(2): [b"ab", b"cd", b"ef", b"gh"], pa.int32(): [1, 2, 3, 4], pa.float64(): [1.0, 2.0, 3.0, 4.0]}
    array = pa.array(values.get(kind, [[1, 2], [3, 4], [5, 6], [7, 8]]), kind)
    whole, part = (decode_numbers(pa.chunked_array(chunks)).values for chunks in ([array], [array[1:3], array[3:]]))
    assert torch.equal(part, whole[1:])


def test_float_nulls_are_nan(tmp_path):
    path = write(
        tmp_path / "t.parquet", {"x": pa.array([1.0, None]), "y": pa.array([[1.0, None], [2.0, 3.0]]), "label": [0, 1]}
    )
    columns = Parquet(path).read()
    assert columns["x"].isnan().tolist() == [False, True]
    assert columns["y"].isnan().tolist() == [[False, True], [False, False]]


def test_reading_twice_gives_fresh_tensors(tmp_path):
    source = Parquet(write(tmp_path / "t.parquet", {"x": [1.0, 2.0], "label": [0, 1]}))
    source.read()["x"].fill_(9)
    assert source.read()["x"].tolist() == [1.0, 2.0]
