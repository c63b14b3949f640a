"""How vectors are written on the wire: one codec a file."""

from raycollab.codecs.base import Codec
from raycollab.codecs.bfloat16 import BFloat16
from raycollab.codecs.quantize import Quantize
from raycollab.codecs.sparse import Sparse

__all__ = ["BFloat16", "Codec", "Quantize", "Sparse"]
