"""Classification of sound, and files of another rate on their way through it."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.io import wavfile

import raycollab as rc
from raycollab.errors import DataError
from raycollab.quality.opening import open_shard

NET = rc.models.Sequential((rc.models.LogMel(8000, mels=8, hop_s=0.0125), rc.models.CNN(2, size=8, channels=(4,))))
TASK = rc.AudioClassification(NET, num_classes=2)


def wav(rate=8000):
    file = io.BytesIO()
    wavfile.write(file, rate, np.zeros(900, np.int16))
    return file.getvalue()


@pytest.fixture
def clips(tmp_path):
    path = tmp_path / "clips.parquet"
    pq.write_table(pa.table({"wav": [wav(), wav(16000), wav()], "label": [0, 1, 1]}), path)
    return rc.data.Parquet(str(path), audio={"wav": (8000, 0.1)})


def opened(source):
    return open_shard(source, TASK, where="agent 'north'", val_fraction=0.0, seed=0)


def test_a_file_of_another_rate_is_named_or_skipped_and_counted(clips):
    with pytest.raises(
        DataError, match=r"clips.parquet: column 'wav': row 1 has 16000 samples a second, not 8000; res"
    ):
        opened(clips)
    found = opened(clips.tolerant())
    assert found.summary == "2 examples (0 for validation), 1 rejected, 2 of 2 labels"
    batch = next(found.shard.batches("train", 2, seed=None))
    assert TASK.predict(TASK.model().eval(), batch)["prediction"].shape == (2,)


@pytest.mark.parametrize("waves", [torch.zeros(3, 800, dtype=torch.int64), torch.zeros(3, 1, 800)])
def test_what_is_no_waveform(waves):
    with pytest.raises(DataError, match=r"here: column 'wav' holds .*; waveforms are floats \[n, samples\]: .* audio="):
        TASK.check({"wav": waves, "label": torch.zeros(3, dtype=torch.int64)}, "here")
