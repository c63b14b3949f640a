"""The way out of a GPU: tensors are copied into pinned memory while it goes on computing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from raycollab.tree import map_leaves

_MOST_PINNED = 2**31  # bytes under way at a time: torch keeps pinned memory for good, and no other process can have it


class WayOut:
    """Copies from a GPU on a stream of its own, one after another; from a CPU there is nothing to copy.

    Args:
        device: Where the tensors are.
    """

    def __init__(self, device: str = "cpu"):
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None
        self._pinned = 0  # bytes under way since somebody last asked for their arrival

    def begin(self, tree: Any) -> Any:
        """Start to copy all tensors of a tree to the CPU, after whatever the GPU was given to compute before.

        Returns: The tree with the copies, which hold nothing before `arrival()` has been called and waited for. What
            was on the CPU stays the object that it is. The tensors themselves must not be written into until then.
        """
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        return map_leaves(lambda leaf: self._begun(leaf) if isinstance(leaf, Tensor) and leaf.is_cuda else leaf, tree)

    def _begun(self, there: Tensor) -> Tensor:
        num_bytes = there.numel() * there.element_size()
        if self._stream is None or there.device != self._stream.device or self._pinned + num_bytes > _MOST_PINNED:
            return there.cpu()
        self._pinned += num_bytes
        here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
        with torch.cuda.stream(self._stream):
            here.copy_(there, non_blocking=True)
        there.record_stream(self._stream)  # its memory is nobody else's before the copy is done
        return here

    def arrival(self) -> Callable[[], None]:
        """A function that waits, in any thread, until all copies that began before this call are done."""
        self._pinned = 0
        if self._stream is None:
            return lambda: None
        return self._stream.record_event(torch.cuda.Event(blocking=True)).synchronize
