"""What may watch a run."""

from raycollab.callbacks.base import Callback
from raycollab.callbacks.progress import Progress

__all__ = ["Callback", "Progress"]
