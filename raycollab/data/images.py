"""Encoded images (PNG, JPEG, WebP and what else Pillow reads) to tensors."""

import io
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raycollab.errors import DataError

_MODES = {"gray": "L", "rgb": "RGB"}
COLORS = tuple(_MODES)


def is_encoded(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold encoded images."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def decode_images(column: pa.ChunkedArray, color: str, name: str) -> torch.Tensor:
    """Decode a column of images of one size.

    Args:
        column: Bytes of one image a row.
        color: One of COLORS.
        name: What errors call it.
    Shapes: n images -> uint8 [n, channels, height, width].

    Raises:
        DataError: A row is null, is no image, or has another size than the first; it names the row.
    """
    pillow = import_module("PIL.Image")  # costs a moment that hosts without encoded images need not pay
    pixels: list[np.ndarray] = []
    for row, encoded in enumerate(column):
        pixels.append(_decoded(pillow, encoded.as_py(), color, f"{name}: row {row}"))
        if pixels[row].shape != pixels[0].shape:
            here, there = ("x".join(map(str, each.shape[:2])) for each in (pixels[row], pixels[0]))
            raise DataError(f"{name}: row {row} is {here}, row 0 is {there}; resize the images to one size")
    images = torch.from_numpy(np.stack(pixels))
    return images[:, None] if color == "gray" else images.permute(0, 3, 1, 2).contiguous()


def _decoded(pillow: Any, encoded: bytes | None, color: str, where: str) -> np.ndarray:
    if not encoded:
        raise DataError(f"{where} is {'null' if encoded is None else 'empty'}; drop the row before training")
    try:
        with pillow.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert(_MODES[color]))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise DataError(f"{where} is no image that can be read: {error}; write it again") from error
