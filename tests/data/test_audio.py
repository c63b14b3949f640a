"""WAV files: what becomes of samples, and what is said of files of another rate."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.io import wavfile

from raycollab.data import ByColumn, Parquet
from raycollab.data.audio import decode_audio
from raycollab.errors import DataError


def wav(samples, rate=8000):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def decoded(*files, rate=8000, seconds=0.0005):
    return decode_audio(pa.chunked_array([pa.array(files, pa.binary())]), rate, seconds)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0, 16384, -32768, 32767], np.int16), [0, 0.5, -1, 32767 / 32768]),
        (np.array([128, 192, 0, 255], np.uint8), [0, 0.5, -1, 127 / 128]),
        (np.array([0, 2**30, -(2**31), 0], np.int32), [0, 0.5, -1, 0]),
        (np.array([0, 0.5, -1, 0.25], np.float32), [0, 0.5, -1, 0.25]),
        (np.array([[0, 16384], [16384, 16384], [0, 0], [0, 0]], np.int16), [0.25, 0.5, 0, 0]),
    ],
    ids=["16 bits", "8 bits", "32 bits", "float", "stereo"],
)
def test_samples_in_minus_one_to_one(samples, expected):
    found = decoded(wav(samples))
    assert not found.bad
    torch.testing.assert_close(found.values, torch.tensor([expected], dtype=torch.float32))


def test_short_ones_end_in_zeros_and_long_ones_are_cut():
    found = decoded(wav(np.full(2, 16384, np.int16)), wav(np.full(9, 16384, np.int16)))
    assert found.values.tolist() == [[0.5, 0.5, 0, 0], [0.5] * 4]


def test_what_is_wrong_with_each_row():
    good = wav(np.zeros(100, np.int16))
    bad = decoded(good, wav(np.zeros(4, np.int16), 16000), good[:60], b"RIFF", None, b"").bad
    assert sorted(bad) == [1, 2, 3, 4, 5]
    assert bad[1] == "has 16000 samples a second, not 8000; resample it, e.g. with `ffmpeg -i IN -ar 8000 OUT`"
    assert bad[2].startswith("is no WAV file that can be read: Reached EOF prematurely")
    assert bad[3].startswith("is no WAV file that can be read: ")
    assert bad[4].startswith("is null")
    assert bad[5].startswith("is empty")


def test_rate_is_checked_with_file_and_row(tmp_path):
    path = str(tmp_path / "w.parquet")
    pq.write_table(
        pa.table({"wav": [wav(np.zeros(4, np.int16)), wav(np.zeros(4, np.int16), 44100)], "label": [0, 1]}), path
    )
    with pytest.raises(
        DataError, match=r"w.parquet: column 'wav': row 1 has 44100 samples a second, not 8000; resample"
    ):
        Parquet(path, audio={"wav": (8000, 1.0)}).read()
    assert len(Parquet(path, audio={"wav": (8000, 1.0)}, bad_rows="skip").open().skipped) == 1


@pytest.mark.skipif(not os.environ.get("RAYCOLLAB_DATA"), reason="RAYCOLLAB_DATA is not set to the real data sets")
def test_real_spoken_digits_by_speaker():
    source = Parquet("fsdd.parquet", columns=("wav",), audio={"wav": (8000, 1.0)}, where={"split": ("test",)})
    parts = source.split(ByColumn("speaker", ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")))
    columns = [part.read() for part in parts]
    assert [tuple(each["wav"].shape) for each in columns] == [(50, 8000)] * 6
    assert all(torch.bincount(each["label"]).tolist() == [5] * 10 for each in columns)
    assert all(0.05 < each["wav"].abs().max() <= 1 for each in columns)
