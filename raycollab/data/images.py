"""Encoded images (PNG, JPEG, WebP and what else Pillow reads) to tensors."""

import io
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raycollab.data.decoded import Decoded

_MODES = {"gray": "L", "rgb": "RGB"}
COLORS = tuple(_MODES)
_BEGINNINGS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WEBP"}  # so that no others are tried first


def is_encoded(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold files: bytes, or Hugging Face's {bytes, path}."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_encoded(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def contents(column: pa.ChunkedArray) -> list[bytes | None]:
    """The bytes of each row's file."""
    array = column.combine_chunks()
    return (array.field("bytes") if pa.types.is_struct(array.type) else array).to_pylist()


def absence(content: bytes | None) -> str:
    """What is wrong with a file that is not there; empty if it is."""
    return "" if content else f"is {'null' if content is None else 'empty'}; drop the row before training"


def decode_images(column: pa.ChunkedArray, color: str, size: tuple[int, int] | None = None) -> Decoded:
    """Decode a column of images.

    Args:
        column: Bytes of one image a row.
        color: One of COLORS.
        size: Height and width that all are resized to; None wants them to have one size.
    Shapes: n images -> uint8 [n, channels, height, width]. Images of another size than the first are bad.
    """
    files = contents(column)
    images: torch.Tensor | None = None
    bad: dict[int, str] = {}
    for row, content in enumerate(files):
        pixels = absence(content) or _decoded(content or b"", color, size)
        if isinstance(pixels, str):
            bad[row] = pixels
            continue
        if images is None:
            images = torch.zeros(len(files), *pixels.shape, dtype=torch.uint8)
        if pixels.shape != images.shape[1:]:
            here, there = ("x".join(map(str, shape[-2:])) for shape in (pixels.shape, images.shape))
            bad[row] = f"is {here}, others are {there}; resize them to one size, e.g. with resize="
        else:
            images[row] = pixels
    if images is None:
        images = torch.zeros(len(files), 1 if color == "gray" else 3, *(size or (0, 0)), dtype=torch.uint8)
    return Decoded(images, bad)


def _decoded(content: bytes, color: str, size: tuple[int, int] | None) -> torch.Tensor | str:
    """Pixels [channels, height, width], or what is wrong."""
    pillow: Any = import_module("PIL.Image")  # a moment that hosts without encoded images need not pay
    likely = next(([kind] for start, kind in _BEGINNINGS.items() if content.startswith(start)), None)
    try:
        with pillow.open(io.BytesIO(content), formats=likely) as opened:
            image = opened if opened.mode == _MODES[color] else opened.convert(_MODES[color])
            if size is not None and image.size != (size[1], size[0]):
                image = image.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(image))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        return f"is no image that can be read: {error}; write it again"
    return pixels[None] if color == "gray" else pixels.permute(2, 0, 1)
