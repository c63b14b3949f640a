"""WAV files in a column to waveforms."""

import io
import warnings
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raycollab.data.decoded import Decoded
from raycollab.data.images import absence, contents


def decode_audio(column: pa.ChunkedArray, rate: int, seconds: float) -> Decoded:
    """Decode a column of WAV files: PCM of 8 to 32 bits, or floats; channels are averaged.

    Args:
        column: Bytes of one file a row.
        rate: Samples a second that every file must have; nothing is resampled.
        seconds: What is kept of the beginning; shorter ones end in zeros.
    Shapes: n files -> float32 [n, rate * seconds] in -1..1.
    """
    files, length = contents(column), round(rate * seconds)
    waves = np.zeros((len(files), length), np.float32)
    bad: dict[int, str] = {}
    for row, content in enumerate(files):
        wave = absence(content) or _wave(content or b"", rate)
        if isinstance(wave, str):
            bad[row] = wave
        else:
            waves[row, : len(wave)] = wave[:length]
    return Decoded(torch.from_numpy(waves), bad)


def _wave(content: bytes, rate: int) -> np.ndarray | str:
    """Samples of one file, or what is wrong with it."""
    reader: Any = import_module("scipy.io.wavfile")  # a moment that hosts without audio need not pay
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Chunk .*not understood")  # such as the name of an artist
            warnings.filterwarnings("error", "Reached EOF prematurely")
            found, samples = reader.read(io.BytesIO(content))
    except Exception as error:  # of many kinds, whatever is in the bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"is no WAV file that can be read: {reason}; write it again"
    if found != rate:
        return f"has {found} samples a second, not {rate}; resample it, e.g. with `ffmpeg -i IN -ar {rate} OUT`"
    if not samples.size:
        return "holds no samples; drop the row before training"
    return _scaled(samples).reshape(len(samples), -1).mean(1)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Samples in -1..1; those of 8 bits have their zero at 128, those of 24 come in the upper bits of 32."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)
