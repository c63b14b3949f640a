"""Time series of any length in a column."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raycollab.data import Parquet
from raycollab.data.ragged import decode_series
from raycollab.errors import ConfigError, DataError


def decoded(values, kind, steps=2, channels=3):
    return decode_series(pa.chunked_array([pa.array(values, kind)]), steps, channels)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_step_by_step(kind):
    found = decoded([bytes(range(6)), bytes(range(10, 22))], kind)
    assert found.values.tolist() == [[[0, 1, 2], [3, 4, 5]], [[10, 11, 12], [13, 14, 15]]]
    assert found.values.dtype == torch.uint8
    assert not found.bad


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.list_(pa.uint8()), torch.uint8),
        (pa.list_(pa.float64()), torch.float32),
        (pa.list_(pa.int32()), torch.float32),
    ],
)
def test_lists_step_by_step(kind, dtype):
    found = decoded([[1, 2, 3, 4, 5, 6, 7, 8, 9]], kind)
    assert found.values.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert found.values.dtype == dtype


def test_what_is_wrong_with_each_row():
    found = decoded([bytes(6), bytes(3), bytes(7), None, b""], pa.binary())
    assert sorted(found.bad) == [1, 2, 3, 4]
    assert found.bad[1] == "holds 1 steps, and 2 are kept; take a shorter window or drop the row"
    assert found.bad[2] == "holds 7 values, which are no whole steps of 3 channels; correct the row"
    assert found.bad[3] == "is null; drop the row before training"
    assert found.bad[4].startswith("holds 0 steps")


def test_a_series_that_is_shorter_than_the_window_is_named_or_skipped(tmp_path):
    path = tmp_path / "walks.parquet"
    pq.write_table(pa.table({"xyz": [bytes([63] * 9), bytes(3)], "label": [0, 1]}), path)
    walks = Parquet(str(path), series={"xyz": (2, 3)}, scale=63.0)
    with pytest.raises(DataError, match=r"walks.parquet: column 'xyz': row 1 holds 1 steps, and 2 are kept; .*'skip'"):
        walks.read()
    opened = walks.tolerant().open()
    assert opened.columns["xyz"].tolist() == [[[1.0] * 3] * 2]
    assert len(opened.skipped) == 1


def test_bad_settings():
    for window in ((0, 3), (2,)):
        with pytest.raises(ConfigError, match=r"Parquet.series\['xyz'\]=.*: must be \(steps, values a step\)"):
            Parquet("walks.parquet", series={"xyz": window})
