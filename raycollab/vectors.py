"""Long vectors: memory that is used again once nobody holds it, and work slice by slice, on all cores in a driver.

Memory fresh from the operating system is written at a fifth of the speed of memory that was there before: each page is
found and zeroed on its first touch. What malloc keeps for itself ends at 32 MiB. What an operation makes of a slice
stays in the cache; done element by element, no number of threads and no cut changes a bit.
"""

import mmap
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor, UntypedStorage

from raycollab.determinism import fixed_threads

SLICE = 2**18  # elements: a MiB; threads that work through shorter ones wait for each other in Python
_THREADS = "slices"
_cores = 1
_LARGE = 2**25  # bytes from which malloc goes to the operating system each time
_SPARE = 2  # that are kept though nobody holds them
_holders_of = getattr(torch._C, "_storage_Use_Count", None)  # private to torch: without it all memory is fresh


class Memory:
    """Storages that were handed out; one is free again when no tensor and no array holds it."""

    def __init__(self) -> None:
        self._storages: list[UntypedStorage] = []
        self._lock = threading.Lock()

    def empty(self, size: int) -> Tensor:
        """A float32 vector [size] on the CPU whose elements are anything, in memory that nobody else holds."""
        if 4 * size < _LARGE or _holders_of is None:
            return torch.empty(size)
        with self._lock:
            free = [storage for storage in self._storages if _holders_of(storage._cdata) == 1]
            found = next((storage for storage in free if storage.nbytes() == 4 * size), None)
            if found is None:
                spare = {storage._cdata for storage in free[:-_SPARE]}
                self._storages = [storage for storage in self._storages if storage._cdata not in spare]
                found = torch.empty(size).untyped_storage()
                self._storages.append(found)
            return torch.empty(0).set_(found, 0, (size,), (1,))


_MEMORY = Memory()


def empty(size: int) -> Tensor:
    """See Memory.empty; of this process."""
    return _MEMORY.empty(size)


def zeros(size: int, like: Tensor) -> Tensor:
    """Zeros [size] of a tensor's type and device; what nobody writes to takes no memory of a CPU's."""
    num_bytes = size * like.element_size()
    if like.device.type != "cpu" or num_bytes < _LARGE:
        return like.new_zeros(size)
    return torch.frombuffer(mmap.mmap(-1, num_bytes), dtype=like.dtype)


def plus(vector: Tensor, change: Tensor) -> Tensor:
    """Both [d] together, in memory that nobody holds."""
    total = empty(vector.numel())
    by_slices(len(total), lambda place: torch.add(vector[place], change[place], out=total[place]))
    return total


def by_slices(size: int, work: Callable[[slice], object]) -> None:
    """Do some work on every slice of so many elements; of short vectors one slice after another."""
    cores = _cores
    nested = threading.current_thread().name.startswith(_THREADS)
    with fixed_threads(1):
        if nested or cores == 1 or size <= 4 * SLICE:
            _through(range(0, size, SLICE), work)
        else:
            parts = [range(size * part // cores, size * (part + 1) // cores, SLICE) for part in range(cores)]
            list(_threads().map(lambda part: _through(part, work), parts))


def _through(part: range, work: Callable[[slice], object]) -> None:
    for start in part:
        work(slice(start, min(start + SLICE, part.stop)))


def use_all_cores() -> None:
    """Let this process work slices through on all cores: a driver does, while its hosts wait for it."""
    global _cores
    _cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores, thread_name_prefix=_THREADS)
