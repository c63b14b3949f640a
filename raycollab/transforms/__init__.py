"""Steps that change a delta: one a file."""

from raycollab.transforms.base import Transform
from raycollab.transforms.clip import ClipNorm
from raycollab.transforms.momentum import Momentum

__all__ = ["ClipNorm", "Momentum", "Transform"]
