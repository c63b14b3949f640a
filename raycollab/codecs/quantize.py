"""A quarter or an eighth of the bytes: whole numbers of 8 or 4 bits."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from raycollab.codecs.base import Codec
from raycollab.errors import UpdateError
from raycollab.settings import require

_PIECE = 2**16  # elements that are worked on together: what is made on the way stays in the cache
_PAIRS = np.array([(code % 16 - 8, code // 16 - 8) for code in range(256)], np.int8).view(np.int16).reshape(-1)


@dataclass(frozen=True)
class Quantize(Codec):
    """Whole multiples of one scale per chunk, rounded at random so that the mean is right.

    With L = 2^(bits - 1) - 1, a chunk's scale is its largest magnitude over L, rounded up to bfloat16; x becomes
    floor(x / scale + u), u uniform in [0, 1) from the seed. The error of an element is below its scale.

    Args:
        bits: 8 or 4.
        chunk: Elements that share a scale, even. Small chunks keep an outlier from drowning its neighbours.
    Shapes: [d] -> bits / 32 + 0.5 / chunk of float32's bytes: 25.2 % at 8 bits, 12.7 % at 4, with chunks of 256.
    Raises: UpdateError for NaN or infinite elements, which no scale can hold.
    Source: Alistarh et al., NeurIPS 2017, arXiv 1610.02132, section 3.1, with the chunks of section 4; a chunk is
        divided by its largest magnitude instead of its L2 norm, and codes have a fixed length.
    """

    bits: int = 8
    chunk: int = 256

    def __post_init__(self) -> None:
        require(self.bits in (4, 8), "Quantize.bits", self.bits, "must be 8 or 4")
        require(self.chunk >= 2 and self.chunk % 2 == 0, "Quantize.chunk", self.chunk, "must be even and >= 2")

    def encode(self, vector: Tensor, *, seed: int) -> dict[str, np.ndarray]:
        """Scale and round."""
        generator = np.random.default_rng(seed)
        pieces = [self._rounded(piece, generator) for piece in vector.split(self._rows * self.chunk)]
        codes, scales = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        sent = -(-vector.numel() * self.bits // 8)  # without what fills up the last chunk
        return {"codes": codes.numpy()[:sent], "scales": scales.numpy(), "size": np.array(vector.numel())}

    def decode(self, arrays: dict[str, np.ndarray]) -> Tensor:
        """Multiply by the scales."""
        scales = torch.from_numpy(arrays["scales"]).view(torch.bfloat16)
        width = self.chunk * self.bits // 8
        codes = torch.from_numpy(arrays["codes"])
        codes = functional.pad(codes, (0, len(scales) * width - len(codes))).view(len(scales), width)
        vector = torch.empty(len(scales), self.chunk)
        pieces = zip(*(whole.split(self._rows) for whole in (vector, codes, scales)), strict=True)
        for out, code, scale in pieces:
            out.copy_(self._unpacked(code)).mul_(scale.float()[:, None])
        return vector.view(-1)[: int(arrays["size"])]

    @property
    def _rows(self) -> int:
        """Chunks of a piece."""
        return max(1, _PIECE // self.chunk)

    def _rounded(self, piece: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Codes and scales of a piece; what fills up its last chunk is zero."""
        rows = functional.pad(piece, (0, -piece.numel() % self.chunk)).view(-1, self.chunk)  # [c, chunk]
        peaks = torch.maximum(rows.amax(1), -rows.amin(1))
        if not torch.isfinite(peaks).all():
            bad = int((~torch.isfinite(piece)).sum())
            raise UpdateError(
                f"{self!r}: {bad} NaN or infinite of {piece.numel()} elements; they cannot be quantized: "
                f"lower lr or clip, or send float32 or BFloat16()"
            )
        largest = 2 ** (self.bits - 1) - 1
        scales = _round_up(peaks / largest)
        scaled = rows / torch.where(scales > 0, scales.float(), 1.0)[:, None]
        scaled += torch.from_numpy(generator.random(rows.shape, dtype=np.float32))
        codes = scaled.floor_().clamp_(-largest, largest).to(torch.int8).view(-1)
        return self._packed(codes), scales.view(torch.int16)

    def _packed(self, codes: Tensor) -> Tensor:
        """Two codes a byte if they have 4 bits, each plus 8, the first in the lower half."""
        if self.bits == 8:
            return codes
        halves = (codes + 8).view(torch.uint8)
        return halves[0::2] | (halves[1::2] << 4)

    def _unpacked(self, codes: Tensor) -> Tensor:
        """Codes as int8, [c, chunk]."""
        if self.bits == 8:
            return codes
        return torch.from_numpy(_PAIRS[codes.numpy()].view(np.int8))


def _round_up(values: Tensor) -> Tensor:
    """The smallest bfloat16 that is not below a float32 >= 0."""
    return ((values.view(torch.int32) + 0xFFFF) >> 16).to(torch.int16).view(torch.bfloat16)
