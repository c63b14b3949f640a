"""What may watch a run."""

from raycollab.callbacks.base import Callback
from raycollab.callbacks.json_lines import JsonLines, watchers
from raycollab.callbacks.progress import Progress

__all__ = ["Callback", "JsonLines", "Progress", "watchers"]
