"""How vectors are written on the wire: one codec a file."""

from raycollab.codecs.base import Codec

__all__ = ["Codec"]
