"""The way out of a device: tensors are copied into pinned memory of the CPU's while the device computes on."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from raycollab.tree import map_leaves


class WayOut:
    """Copies on a stream of its own, one after another; from a CPU there is nothing to copy.

    Args:
        device: Where the tensors are.
    """

    def __init__(self, device: str = "cpu"):
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None

    def begin(self, tree: Any) -> Any:
        """A tree with all tensors on the CPU, of which those that come from a GPU are there once `arrival` returned.

        They are copied as they are when what was computed before is done; they must not be written into until then.
        """
        return map_leaves(lambda leaf: self._begun(leaf) if isinstance(leaf, Tensor) and leaf.is_cuda else leaf, tree)

    def _begun(self, there: Tensor) -> Tensor:
        if self._stream is None:
            return there.cpu()
        here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
        self._stream.wait_stream(torch.cuda.current_stream(there.device))
        with torch.cuda.stream(self._stream):
            here.copy_(there, non_blocking=True)
        there.record_stream(self._stream)  # its memory is nobody else's before the copy is done
        return here

    def arrival(self) -> Callable[[], None]:
        """What waits, in any thread, until all that began before this call is there."""
        return (lambda: None) if self._stream is None else self._stream.record_event().synchronize
